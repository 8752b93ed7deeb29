"""Settings: the only reader of the environment.

Every field can be set as `CN_<FIELD>` in the environment or in a `.env` file. The defaults are the embedded platform
of `make run`: SQLite, local folders, one CPU sampler, loopback.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from serve.loopback import is_loopback

_HOST = re.compile(r"(?:(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII)


def lookahead(seats: int) -> int:
    """UNet rows that are claimed beyond what fills so many seats."""
    return max(2, seats // 8)


class Settings(BaseSettings):
    """What an operator may change. Sizes in bytes, times in seconds."""

    # An error or a log line that shows settings shows no password: not in a URL, and not in what was refused.
    model_config = SettingsConfigDict(
        env_prefix="CN_", env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
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
        {}, repr=False, description="obstore options as JSON; under workload identity `account_name` is enough."
    )
    retention: float = Field(7 * 24 * 3600.0, gt=0, description="Seconds a result is kept after its job's end.")
    mlflow_tracking_uri: str | None = Field(None, repr=False, description="MLflow; SQLite in `data_dir` when absent.")

    model: str = Field("controlnet-demo", description="Registered model whose champion is served.")
    reconcile_every: float = Field(2.0, gt=0, description="Seconds between looks at the registry.")

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="Of the networks; auto is float32 on a CPU, where bfloat16 is up to twice as fast."
    )
    sampler_gpus: float | None = Field(None, ge=0, description="GPUs per sampler; 1 where there is one when absent.")
    sampler_replicas: tuple[int, int] = Field(
        (1, 1), description="Fewest and most samplers, as JSON; with a fewest of 0 there are none while nothing waits."
    )
    imaging_replicas: tuple[int, int] = Field((1, 2), description="Fewest and most imaging replicas.")
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
    attempts: int = Field(3, ge=1, description="How often a job is tried before it is set aside.")
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
        None, description="Teams whose admins may see how the whole platform is doing; `demo` on loopback when absent."
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
        (), description="Hosts that webhooks may call: `hooks.example.com`, `*.example.com`, with `:port` if not 443."
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
                raise ValueError(f"{name} is {rows}: choose a power of two, as the buckets are")
        if self.pinned_rows > self.max_rows:
            raise ValueError(f"pinned_rows is {self.pinned_rows}: choose at most max_rows, which is {self.max_rows}")
        return self

    @model_validator(mode="after")
    def _replicas_are_a_range(self) -> Settings:
        least = {"sampler_replicas": 0, "imaging_replicas": 1}  # samplers may all go: the dispatcher knows what waits
        for name, smallest in least.items():
            fewest, most = getattr(self, name)
            if not smallest <= fewest <= most or most < 1:
                raise ValueError(f"{name} is {[fewest, most]}: choose the fewest from {smallest}, the most from 1")
        if self.scale_to_zero_after < self.scale_down_after:
            raise ValueError(
                f"scale_to_zero_after is {self.scale_to_zero_after:g}: choose at least scale_down_after, which is "
                f"{self.scale_down_after:g}, as the last sampler is the dearest to bring back"
            )
        return self

    @model_validator(mode="after")
    def _identity_is_proven(self) -> Settings:
        if self.anonymous is not None and not is_loopback(self.host):
            raise ValueError(f"anonymous is {self.anonymous!r} and host is {self.host}: choose a loopback address")
        if (self.oidc_issuer is None) != (self.oidc_audience is None):
            raise ValueError("oidc_issuer and oidc_audience go together: set both, or neither")
        if self.oidc_issuer is not None:
            parts = urlsplit(self.oidc_issuer)
            local = parts.scheme == "http" and is_loopback(parts.hostname or "")
            if not parts.hostname or not (parts.scheme == "https" or local):
                raise ValueError(f"oidc_issuer is {self.oidc_issuer!r}: must be https, or http on this machine")
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
        return self.database or f"sqlite:///{(self.data_dir / 'jobs.db').resolve()}"

    @property
    def artifacts_url(self) -> str:
        """Obstore URL of the artifact store."""
        return self.artifacts or (self.data_dir / "artifacts").resolve().as_uri()

    @property
    def tracking_uri(self) -> str:
        """MLflow tracking URI."""
        return self.mlflow_tracking_uri or f"sqlite:///{(self.data_dir / 'mlflow.db').resolve()}"

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return self.url or f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"

    @property
    def bundle_cache(self) -> Path:
        """Folder of fetched bundles, one subfolder a digest."""
        return (self.data_dir / "bundles").resolve()
