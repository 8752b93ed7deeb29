"""Settings: the only reader of the environment.

Every field can be set as `CN_<FIELD>` in the environment or in a `.env` file. The defaults are the embedded platform
of `make run`: SQLite, local folders, one CPU sampler, loopback.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from serve.errors import OperatorError
from serve.findings import phrase
from serve.loopback import is_loopback

DAY_S = 24 * 3600.0
PREFIX = "CN_"
FILE = ".env"
JOBS, MLFLOW = "jobs.db", "mlflow.db"
"""SQLite files in the data folder."""

_HOST = re.compile(r"(?:(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII)


def lookahead(seats: int) -> int:
    """UNet rows that are claimed beyond what fills so many seats."""
    return max(2, seats // 8)


class WrongSettings(OperatorError):
    """Variables that can't be used; one line each, with the value unless it may be a secret."""


def _both(given: object) -> object:
    """One number is the fewest and the most."""
    return (given, given) if isinstance(given, int) else given


Range = Annotated[tuple[int, int], BeforeValidator(_both)]


class Settings(BaseSettings):
    """What an operator may change. Sizes in bytes, times in seconds."""

    # An error or a log line that shows settings shows no password: not in a URL, and not in what was refused.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=FILE, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(Path("data"), description="Where the embedded defaults keep everything.")
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port of the API.")
    metrics_port: int = Field(9100, ge=0, le=65535, description="Port of the API's Prometheus endpoint.")
    anonymous: str | None = Field(
        None, description="For development, on loopback only: the team of requests that come without a key."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    database: str | None = Field(None, repr=False, description="SQLAlchemy URL; SQLite in `data_dir` when absent.")
    artifacts: str | None = Field(None, repr=False, description="obstore URL; a folder in `data_dir` when absent.")
    artifacts_options: dict[str, str] = Field(
        {},
        repr=False,
        description="obstore options as JSON; under workload identity `account_name` is enough.",
        examples=['{"account_name": "pictures"}'],
    )
    retention: float = Field(7 * DAY_S, gt=0, description="Seconds a result is kept after its job's end.")
    retention_jobs: float = Field(
        90 * DAY_S,
        ge=DAY_S,
        description="Seconds a job's row, events and webhook are kept after its result went; `inf` is for ever.",
    )
    retention_usage: float = Field(math.inf, ge=DAY_S, description="Likewise of usage, after the job's end.")
    retention_audit: float = Field(math.inf, ge=DAY_S, description="Likewise of the audit log, after what was done.")
    mlflow_tracking_uri: str | None = Field(None, repr=False, description="MLflow; SQLite in `data_dir` when absent.")

    model: str = Field("controlnet-demo", description="Registered model whose champion is served.")
    reconcile_every: float = Field(2.0, gt=0, description="Seconds between looks at the registry.")

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="Of the networks; auto is float32 on a CPU, where bfloat16 is up to twice as fast."
    )
    sampler_gpus: float | None = Field(None, ge=0, description="GPUs per sampler; 1 where there is one when absent.")
    sampler_replicas: Range = Field(
        (1, 1),
        description="Fewest and most samplers, as JSON; with a fewest of 0 there are none while nothing waits.",
        examples=["[1, 4]", "2"],
    )
    imaging_replicas: Range = Field((1, 2), description="Fewest and most imaging replicas.", examples=["[1, 4]", "2"])
    sampler_threads: int | None = Field(
        None, ge=1, description="Torch threads of a CPU sampler; all cores that it may use when absent."
    )
    clear_within: float = Field(
        60.0,
        gt=0,
        description="Seconds in which samplers are to do what waits and runs: more come where it takes longer.",
    )
    scale_down_after: float = Field(
        300.0, ge=0, description="Seconds for which fewer replicas must have done before there are fewer."
    )
    scale_to_zero_after: float = Field(
        600.0, ge=0, description="Likewise before the last sampler goes, where there may be none."
    )
    previews: int = Field(0, ge=0, le=256, description="Longer side of a running job's previews; 0 makes none.")
    max_rows: int = Field(16, ge=2, le=32, description="Most UNet rows in one batch.")
    pinned_rows: int = Field(2, ge=2, le=32, description="The bucket of deterministic images.")
    bundle_memory: int = Field(8 << 30, gt=0, description="Bytes of bundles a sampler keeps loaded.")

    adherence_share: float = Field(
        0.1, ge=0, le=1, description="Share of the images under canny whose own edges are compared with their map."
    )

    otlp_endpoint: str | None = Field(
        None, description="OTLP over HTTP (`http://127.0.0.1:4318`) that is sent traces; none are made when absent."
    )
    trace_ratio: float = Field(0.1, ge=0, le=1, description="Share of the requests that are traced.")

    lease: float = Field(30.0, gt=0, description="Seconds a dispatcher may be silent before its job is taken over.")
    attempts: int = Field(3, ge=1, description="How often a job may fail by an error of ours before it is set aside.")
    rows_in_flight: int | None = Field(
        None, ge=1, description="UNet rows claimed at once; an eighth more than all samplers hold when absent."
    )
    job_timeout: float = Field(600.0, gt=0, description="Seconds `POST /v1/images` waits for its job.")

    oidc_issuer: str | None = Field(
        None, description="Issuer of tokens as they have it in `iss`: https, or on this machine; none takes keys only."
    )
    oidc_audience: str | None = Field(None, description="`aud` of the tokens that are meant for this platform.")
    oidc_tenant_claim: str = Field("tenant", min_length=1, description="The claim with a token's team.")
    oidc_role_claim: str = Field(
        "roles", min_length=1, description="That with its role; the same claim has both as `<team>.<role>`."
    )

    operators: tuple[str, ...] | None = Field(
        None,
        description="Teams whose admins may see how the whole platform is doing; `demo` on loopback when absent.",
        examples=['["studio"]'],
    )

    max_streams: int = Field(50, ge=1, description="Most event streams that a team may have open at one API.")

    max_body: int = Field(32 << 20, gt=0, description="Largest request body.")
    max_pixels_in: int = Field(40_000_000, gt=0, description="Largest picture accepted, in pixels.")
    max_pixels_out: int = Field(1024 * 1024, gt=0, description="Largest picture made, in pixels.")
    max_aspect: float = Field(4.0, ge=1, description="Longest side over shortest of a picture made.")
    max_images: int = Field(12, ge=1, description="Most images of one job.")
    max_steps: int = Field(100, ge=1, le=1000, description="Most steps.")
    max_controls: int = Field(3, ge=0, description="Most controls of one job.")

    webhook_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts that webhooks may call: `hooks.example.com`, `*.example.com`, with `:port` if not 443.",
        examples=['["hooks.example.com"]'],
    )
    webhook_secret: SecretStr | None = Field(
        None, description="`whsec_<base64>`: every team's is derived from it; made and kept in `data_dir` when absent."
    )

    url: str | None = Field(None, description="Where `cnserve jobs` finds the API; that of this machine when absent.")
    key: SecretStr | None = Field(
        None, description="The API key of `cnserve jobs`; on the machine of `cnserve up` the one it keeps when absent."
    )

    @model_validator(mode="after")
    def _rows_are_buckets(self) -> Settings:
        for name, rows in (("max_rows", self.max_rows), ("pinned_rows", self.pinned_rows)):
            if rows & (rows - 1):
                raise ValueError(f"{variable(name)} is {rows}: choose a power of two, as the buckets are")
        if self.pinned_rows > self.max_rows:
            raise ValueError(
                f"CN_PINNED_ROWS is {self.pinned_rows}: choose at most CN_MAX_ROWS, which is {self.max_rows}"
            )
        return self

    @model_validator(mode="after")
    def _replicas_are_a_range(self) -> Settings:
        least = {"sampler_replicas": 0, "imaging_replicas": 1}  # samplers may all go: the dispatcher knows what waits
        for name, smallest in least.items():
            fewest, most = getattr(self, name)
            if not smallest <= fewest <= most or most < 1:
                raise ValueError(
                    f"{variable(name)} is {[fewest, most]}: choose the fewest from {smallest}, the most from 1"
                )
        if self.scale_to_zero_after < self.scale_down_after:
            raise ValueError(
                f"CN_SCALE_TO_ZERO_AFTER is {self.scale_to_zero_after:g}: choose at least CN_SCALE_DOWN_AFTER, which "
                f"is {self.scale_down_after:g}, as the last sampler is the dearest to bring back"
            )
        return self

    @model_validator(mode="after")
    def _identity_is_proven(self) -> Settings:
        if self.anonymous is not None and not is_loopback(self.host):
            raise ValueError(
                f"CN_ANONYMOUS is {self.anonymous!r} and CN_HOST is {self.host}: choose a loopback address"
            )
        if (self.oidc_issuer is None) != (self.oidc_audience is None):
            raise ValueError("CN_OIDC_ISSUER and CN_OIDC_AUDIENCE go together: set both, or neither")
        if self.oidc_issuer is not None:
            parts = urlsplit(self.oidc_issuer)
            local = parts.scheme == "http" and is_loopback(parts.hostname or "")
            if not parts.hostname or not (parts.scheme == "https" or local):
                raise ValueError(f"CN_OIDC_ISSUER is {self.oidc_issuer!r}: must be https, or http on this machine")
        return self

    @field_validator("webhook_hosts")
    @classmethod
    def _hosts_are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(f"{host!r} is no host: write hooks.example.com or *.example.com, :port if not 443")
        return hosts

    def claimed_rows(self, samplers: int) -> int:
        """UNet rows that a dispatcher has claimed and that are not sampled yet, at most.

        What fills every sampler's batch, and an eighth more that imaging prepares meanwhile, so that seats don't wait.
        Not more: what was claimed is out of the fair order and stands in the engine's line, before whoever comes
        (`python -m ops.fairness` shows what that costs), and a sampler that comes would find nothing left to do.

        Args:
            samplers: That run.
        """
        seats = samplers * self.max_rows
        return self.rows_in_flight or seats + lookahead(seats)

    @property
    def operating_tenants(self) -> tuple[str, ...]:
        """Teams whose admins are operators. Where strangers can reach the API, none is unless it is named."""
        if self.operators is not None:
            return self.operators
        return ("demo",) if is_loopback(self.host) else ()

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the job store."""
        return self.database or _sqlite(self.data_dir / JOBS)

    @property
    def artifacts_url(self) -> str:
        """Obstore URL of the artifact store."""
        return self.artifacts or (self.data_dir / "artifacts").resolve().as_uri()

    @property
    def tracking_uri(self) -> str:
        """MLflow tracking URI."""
        return self.mlflow_tracking_uri or _sqlite(self.data_dir / MLFLOW)

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return self.url or f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"

    @property
    def bundle_cache(self) -> Path:
        """Folder of fetched bundles, one subfolder a digest."""
        return (self.data_dir / "bundles").resolve()


def read_settings() -> Settings:
    """The settings of the environment.

    Raises:
        WrongSettings: They can't be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise WrongSettings("\n".join(map(_fault, error.errors()))) from error
    except SettingsError as error:  # of the fields that are JSON; it names the field alone
        name = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
        raise WrongSettings(_sentence(name, os.environ.get(variable(name)), "must be JSON")) from error


def unknown_variables(names: Collection[str]) -> Iterator[str]:
    """A sentence on each variable that looks like a setting and is none, with the nearest one.

    Args:
        names: Of variables.
    """
    known = {variable(name) for name in Settings.model_fields}
    for name in sorted(names):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, 1)
            yield f"{name} is no setting and is ignored{f': did you mean {near[0]}?' if near else '.'}"


def given_variables() -> set[str]:
    """The names of all variables that settings could come from: the environment's, and those of the file."""
    from dotenv import dotenv_values  # as pydantic-settings reads it

    return {*os.environ, *dotenv_values(FILE)}


def variable(name: str) -> str:
    """The variable that sets a field."""
    return f"{PREFIX}{name}".upper()


def _fault(found: ErrorDetails) -> str:
    if not found["loc"]:  # of several fields together: its text names them
        return str(found["msg"]).removeprefix("Value error, ")
    return _sentence(str(found["loc"][0]), found["input"], phrase(found))


def _sentence(name: str, value: Any, fault: str) -> str:  # noqa: ANN401
    """One fault, as in "CN_PORT is 'http': must be a whole number"."""
    field = Settings.model_fields[name]
    examples = " or ".join(f"{variable(name)}='{example}'" for example in field.examples or ())
    shown = f" is {value!r}" if value is not None and field.repr and "Secret" not in str(field.annotation) else ""
    return f"{variable(name)}{shown}: {fault}{f', for example {examples}' if examples else ''}"


def _sqlite(file: Path) -> str:
    """The URL of a SQLite file, whatever its name has: SQLAlchemy decodes what is encoded.

    MLflow does not, and would make a folder of the encoded name; with every slash encoded, too, it has none to make.
    """
    path = str(file.resolve())
    return f"sqlite:///{quote(path, safe='') if re.search('[%?#]', path) else path}"
