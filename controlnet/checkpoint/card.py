"""The model card of an export: what a bundle's manifest says and neither weights nor other programs' configs can.

A file has it in the metadata of its safetensors header, a folder in a JSON file beside the weights. Other programs pass
it over; `import_checkpoint`, `import_control` and `import_diffusers` read it back.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open

from controlnet.architecture import Architecture, UNetConfig
from controlnet.bundle import LARGEST_MANIFEST, ControlName, Defaults, Manifest, Name, Size, Version, faults
from controlnet.strict import CheckpointError

KEY = "controlnet_model_card"
"""Of the metadata of a file."""

FILE = "controlnet_model_card.json"
"""Name of the file in a folder."""


class _Open(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)  # a later one may say more


class CardControl(_Open):
    """How the maps of one control are made; as in `controlnet.bundle.Control`."""

    annotator: str
    parameters: dict[str, float]
    description: str


class ModelCard(_Open):
    """What import needs to give the same model back; the fields are those of `controlnet.bundle.Manifest`.

    Attributes:
        controls: Those whose weights are in the same export, by name.
    """

    format: Literal[1]
    name: Name
    version: Version
    licence: str
    architecture: Architecture
    native_size: Size
    defaults: Defaults
    controls: dict[ControlName, CardControl]

    @classmethod
    def of(cls, manifest: Manifest, controls: Collection[str]) -> ModelCard:
        """The card of a bundle of which these controls are exported."""
        return cls(
            format=1,
            name=manifest.name,
            version=manifest.version,
            licence=manifest.licence,
            architecture=manifest.architecture,
            native_size=manifest.native_size,
            defaults=manifest.defaults,
            controls={
                name: CardControl(annotator=of.annotator, parameters=of.parameters, description=of.description)
                for name, of in manifest.controls.items()
                if name in controls
            },
        )

    def text(self) -> str:
        """As JSON; equal cards give equal texts."""
        return self.model_dump_json(indent=2) + "\n"


def read_card(source: str | Path) -> ModelCard | None:
    """The card of an export; None where the source has none, which is so for all that others made.

    Args:
        source: A file or folder, as `import_checkpoint`, `import_control` and `import_diffusers` take it.

    Raises:
        CheckpointError: There is a card, but it can't be read.
    """
    source = Path(source)
    text = None
    if source.is_dir():
        if (source / FILE).is_file():
            text = (source / FILE).read_text(encoding="utf-8", errors="replace")
    elif source.suffix == ".safetensors" and source.is_file():
        try:
            with safe_open(source, framework="pt") as opened:
                text = (opened.metadata() or {}).get(KEY)
        except (SafetensorError, OSError):  # whoever reads the weights says what is wrong
            return None
    if text is None:
        return None
    try:
        if len(text) > LARGEST_MANIFEST:
            raise CheckpointError(f"The model card of {source} has more than {LARGEST_MANIFEST} characters.")
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise CheckpointError(f"The model card of {source} can't be read: {faults(error)}.") from error


def same_network(one: Architecture, other: Architecture) -> bool:
    """Whether two architectures build equal networks."""
    return replace(one, unet=ordered(one.unet)) == replace(other, unet=ordered(other.unet))


def ordered(unet: UNetConfig) -> UNetConfig:
    """The same numbers; its levels with attention, which are a set, in the order in which diffusers' configs give them.

    Deep levels come first there.
    """
    return replace(unet, attention_resolutions=tuple(sorted(unet.attention_resolutions, reverse=True)))
