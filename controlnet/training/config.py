"""The configuration of a stage, composed and checked without torch: mistakes are told at once."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controlnet.bundle import Bundle, ControlName

Config = Mapping[str, Any]

STAGES = ("vae", "base", "control")

CONF = Path(__file__).parent / "conf"

NATIVE = 128
"""Side of the pictures that a model of the configuration's own numbers is trained on, in pixels."""

PATHS = ("folder", "bundle", "mlflow", "experiment", "data.train", "data.held_out")
"""Keys whose values are taken as they are, whatever characters they hold."""

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Data(_Checked):
    kind: Literal["parts", "pairs"]
    train: str
    held_out: str | None
    size: Count | None
    mirrored: bool


class _Common(_Checked):
    """Types and bounds; defaults and meanings are in `conf/`."""

    folder: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    accelerator: str
    devices: Count
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"]
    threads: Count | None
    workers: Annotated[int, Field(ge=0)]
    accumulate: Count
    clip: NotNegative | None
    max_time: Positive | None
    save_every: Count
    log_every: Count
    show_every: Count
    progress: bool
    mlflow: str | None
    experiment: str
    data: _Data
    architecture: dict[str, Any]
    steps: Count
    batch: Count
    optimizer: Literal["muon", "adamw"]
    learning_rate: NotNegative
    warmup: Annotated[int, Field(ge=0)]
    hold: Annotated[float, Field(ge=0, lt=1)]
    floor: Share
    ema: Annotated[float, Field(ge=0, lt=1)]


class _VAE(_Common):
    stage: Literal["vae"]
    crop: Count
    lock_encoder: bool
    loss: dict[str, NotNegative]


class _Base(_Common):
    stage: Literal["base"]
    gamma: Positive
    dropout: Share


class _Control(_Base):
    stage: Literal["control"]  # type: ignore[assignment]
    name: ControlName
    bundle: str | None
    fresh_rate: NotNegative
    late: Share


_KINDS: Mapping[str, type[_Common]] = {"vae": _VAE, "base": _Base, "control": _Control}


def read_config(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose a stage's configuration with `key=value` overrides, one of which names the stage.

    Raises:
        ValueError: names the key, and what it may be: a missing or unknown stage, an unknown key, a value of another
            type or out of its bounds, pictures or a bundle that are not there.
    """
    stage, plain = _compose(overrides)
    if stage == "control" and plain["folder"] is None:
        plain["folder"] = f"runs/{plain['name']}" if plain["bundle"] else "runs/demo"
    if plain["data"]["train"] == "???":
        raise ValueError("data.train is missing: give the folder of the pictures, data.train=FOLDER")
    try:
        _KINDS[stage].model_validate(plain, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        bound = re.sub("^(Input|String) should ", "it must ", first["msg"]).partition(", unable")[0]
        raise ValueError(f"{key} is {first['input']!r}: {bound}") from error
    _check_places(plain)
    return plain


def describe(overrides: Sequence[str]) -> list[tuple[str, str, str]]:
    """Every key of a stage, its value under the overrides, and its meaning.

    Raises:
        ValueError: as for `read_config`, where a key or the stage is unknown.
    """
    stage, plain = _compose(overrides)
    meanings: dict[str, str] = {}
    for name in ("common", "demo", stage):
        parents: list[str] = []
        for line in (CONF / f"{name}.yaml").read_text().splitlines():
            if found := re.match(r"(?P<indent> *)(?P<key>\w+):(?P<value>.*?)(?: # (?P<meaning>.*))?$", line):
                parents = [*parents[: len(found["indent"]) // 2], found["key"]]
                meanings[".".join(parents)] = found["meaning"] or ""
    return [(key, _shown(value), meanings[key]) for key, value in _flat(plain) if key != "stage"]


def sides(config: Config, multiple: int) -> tuple[int, int]:
    """Height and width of pairs to train at: as set, or those of the bundle whose base is trained on.

    Args:
        config: of the stage.
        multiple: what the model's pictures are multiples of, in pixels.

    Raises:
        ValueError: the size that is set is no multiple.
    """
    size = config["data"]["size"]
    if size is None and config.get("bundle"):
        native = Bundle.open(config["bundle"]).manifest.native_size
        return native.height, native.width
    size = NATIVE if size is None else size
    if size < multiple or size % multiple:
        near = max(1, round(size / multiple)) * multiple
        raise ValueError(f"data.size is {size}: the model takes multiples of {multiple}, such as {near}")
    return size, size


def _compose(overrides: Sequence[str]) -> tuple[str, dict[str, Any]]:
    names = [value.removeprefix("stage=") for value in overrides if value.startswith("stage=")]
    if len(names) != 1 or names[0] not in STAGES:
        told = f"is {' and '.join(names)}" if names else "is missing"
        raise ValueError(f"stage {told}: give one of {', '.join(f'stage={name}' for name in STAGES)}")
    stage = names[0]
    rest = [value for value in overrides if not value.startswith("stage=")]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        known = [key for key, _ in _flat(OmegaConf.to_container(compose(stage)))]
        try:
            plain = OmegaConf.to_container(
                compose(stage, [_override(value, stage, known) for value in rest]), resolve=True
            )
        except (HydraException, OmegaConfBaseException) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise ValueError(f"{' '.join(rest)} cannot be read: {reason}") from error
    assert isinstance(plain, dict)
    return stage, {str(key): value for key, value in plain.items()}


def _override(text: str, stage: str, known: Sequence[str]) -> str:
    """Check an override's key, and quote a value that Hydra's grammar must not read."""
    key, equals, value = text.partition("=")
    plain = key.lstrip("+~")
    if not equals and not key.startswith("~"):
        raise ValueError(f"{text!r} is not key=value")
    if plain not in (*known, "data") and plain.partition(".")[0] not in known:  # numbers of `architecture` and `loss`
        near = difflib.get_close_matches(plain, known, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"stage={stage} has no {plain}: {meant}`controlnet train --show stage={stage}` lists all keys")
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if plain not in PATHS or quoted or value in ("", "null"):
        return text
    return f"{key}={QuotedString(text=value, quote=Quote.single).with_quotes()}"


def _flat(plain: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Keys of what is nested, with dots. The architecture is one: its numbers are a model's, not a training's."""
    assert isinstance(plain, dict)
    for key, value in plain.items():
        name = f"{path}{key}"
        if isinstance(value, dict) and name == "data":
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _shown(value: object) -> str:
    return "required" if value == "???" else "..." if isinstance(value, dict) else json.dumps(value).strip('"')


def _check_places(config: Config) -> None:
    """Look for the folders that are read, and at the size, before seconds of imports."""
    data = config["data"]
    for split in ("train", "held_out"):
        if data[split] is None:
            continue
        listing = Path(data[split]) / ("prompt.json" if data["kind"] == "pairs" else "meta.json")
        if not listing.is_file():
            kind = "pairs" if (Path(data[split]) / "prompt.json").is_file() else data["kind"]
            hint = f"; give data.kind={kind}" if kind != data["kind"] else ""
            raise ValueError(f"data.{split} is {data[split]}, which has no {listing.name}{hint}")
    if config.get("bundle"):
        sides(config, Bundle.open(config["bundle"]).manifest.architecture.multiple)
