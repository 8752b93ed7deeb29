"""A bundle with further controls, which is another bundle."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from pydantic import JsonValue
from safetensors.torch import load_file

from controlnet.bundle import Bundle, ControlWeights, write_bundle

DTYPES: Mapping[torch.dtype, Literal["float16", "bfloat16", "float32"]] = MappingProxyType(
    {torch.float16: "float16", torch.bfloat16: "bfloat16", torch.float32: "float32"}
)


def extend_bundle(
    base: Bundle,
    folder: str | Path,
    controls: Mapping[str, ControlWeights],
    *,
    name: str,
    version: str,
    licence: str,
    sources: Mapping[str, JsonValue],
    created: datetime,
    metrics: Mapping[str, float] = MappingProxyType({}),
    native_size: tuple[int, int] | None = None,
) -> Bundle:
    """Write a bundle anew with further controls. What isn't said here is the base's: defaults, dtype ...

    Metrics and training data are its own: what the base was measured at and trained on lies below `base`, with the
    base's name and digest.

    Args:
        base: An open bundle.
        folder: Must not exist, or be empty.
        controls: By name; one of the base's that has that name is replaced.
        name: Of the new model.
        version: Of its weights.
        licence: SPDX expression or a sentence.
        sources: Where controls come from, by name, in words or as data.
        created: With time zone.
        metrics: Measured quality of what is new.
        native_size: (width, height) in pixels; the base's if not given.

    Raises:
        BundleError: As for `write_bundle`.
    """
    manifest = base.manifest
    known = {
        control: ControlWeights(load_file(base.path(of.file)), of.annotator, of.parameters, of.description)
        for control, of in manifest.controls.items()
    }
    told: dict[str, JsonValue] = {
        "base": {
            "name": manifest.name,
            "version": manifest.version,
            "bundle": base.digest,
            "metrics": dict(manifest.metrics),
            "training_data": manifest.training_data,
        }
    }
    unet = load_file(base.path("unet.safetensors"))
    return write_bundle(
        folder,
        architecture=manifest.architecture,
        unet=unet,
        vae=load_file(base.path("vae.safetensors")),
        text=load_file(base.path("text.safetensors")),
        controls=known | dict(controls),
        tokenizer=base.path("tokenizer"),
        name=name,
        version=version,
        native_size=native_size or (manifest.native_size.width, manifest.native_size.height),
        licence=licence,
        training_data=told | {f"control-{control}": source for control, source in sources.items()},
        metrics=metrics,
        created=created,
        defaults=manifest.defaults,
        dtype=DTYPES[next(weight.dtype for weight in unet.values())],
    )
