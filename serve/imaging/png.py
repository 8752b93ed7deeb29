"""Finished pictures as PNG files that say how they were made."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

KEYWORD = "controlnet"
"""The text chunk that holds every parameter as one JSON object (ASCII, sorted keys)."""

KEYWORD_A1111 = "parameters"
"""The text chunk that other tools read: prompt, negative prompt and settings in the syntax of the A1111 web UI."""

_LEVEL = 4  # of a 512x512 photograph: 66 ms and 414 KiB; level 3: 37 ms, 448 KiB; level 6, the default: 91 ms, 415 KiB
_SAMPLERS = {"ddim": "DDIM", "dpmpp_2m": "DPM++ 2M", "euler": "Euler"}
_MODES = {"balanced": "Balanced", "guess": "ControlNet is more important"}
_SETTINGS = {"steps": "Steps", "sampler": "Sampler", "guidance": "CFG scale", "seed": "Seed"}


def encode_png(picture: NDArray[np.uint8], parameters: Mapping[str, Any]) -> bytes:
    """A PNG with its parameters inside. Equal arguments give equal bytes (with one build of Pillow).

    Args:
        picture: uint8 [H, W, 3].
        parameters: JSON-safe; names as in `JobSpec`, with `seed` for `seeds` and the model's `model`, `model_version`
            and `model_digest`. Nothing is written about the tenant unless it is in here. Empty: no text at all.

    Raises:
        ValueError: The picture has another type or shape, or a parameter is NaN or infinite.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"the picture is {picture.dtype} {picture.shape}: give uint8 [H, W, 3]")
    texts = PngInfo()
    if parameters:
        texts.add_text(KEYWORD, json.dumps(dict(parameters), sort_keys=True, allow_nan=False))
        texts.add_text(KEYWORD_A1111, a1111_text(parameters, width=picture.shape[1], height=picture.shape[0]))
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=_LEVEL, pnginfo=texts)
    return file.getvalue()


def read_parameters(png: bytes) -> dict[str, Any]:
    """What `encode_png` was told.

    Raises:
        ValueError: This is no PNG, or none of ours.
    """
    try:
        with PngImageFile(io.BytesIO(png)) as image:
            text = image.info.get(KEYWORD)
    except (SyntaxError, OSError) as error:
        raise ValueError(f"this is no PNG: {error}") from None
    parameters = json.loads(text) if isinstance(text, str) else None
    if not isinstance(parameters, dict):
        raise ValueError(f"the PNG has no parameters under the keyword {KEYWORD!r}")
    return parameters


def a1111_text(parameters: Mapping[str, Any], width: int, height: int) -> str:
    """The parameters as the A1111 web UI writes them: prompt, negative prompt, one line of settings."""
    lines = [_line(parameters.get("prompt", ""))]
    if parameters.get("negative_prompt"):
        lines.append(f"Negative prompt: {_line(parameters['negative_prompt'])}")
    settings = {name: parameters[key] for key, name in _SETTINGS.items() if key in parameters}
    if "Sampler" in settings:
        settings["Sampler"] = _SAMPLERS.get(settings["Sampler"], settings["Sampler"])
    settings["Size"] = f"{width}x{height}"
    if "model_digest" in parameters:
        settings["Model hash"] = str(parameters["model_digest"]).removeprefix("sha256:")[:10]
    if "model" in parameters:
        settings["Model"] = parameters["model"]
    for i, control in enumerate(parameters.get("controls", ())):
        settings[f"ControlNet {i}"] = _listed(_control(control))
    lines.append(_listed(settings))
    return "\n".join(lines)


def _control(control: Mapping[str, Any]) -> dict[str, object]:
    """One control in the words of the web UI's ControlNet extension."""
    return {
        "Module": control["annotator"],
        "Model": control["type"],
        "Weight": control["strength"],
        "Guidance Start": control["start"],
        "Guidance End": control["end"],
        "Control Mode": _MODES.get(control["mode"], control["mode"]),
    }


def _listed(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name}: {_value(value)}" for name, value in settings.items())


def _value(value: object) -> str:
    text = str(value).removesuffix(".0") if isinstance(value, float) else str(value)
    # Quoted where it holds what separates values.
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ',:"\n') else text


def _line(text: str) -> str:
    """What a PNG text chunk can hold: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
