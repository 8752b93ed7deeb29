"""PNGs that say how they were made."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serve.imaging.png import encode_png, read_parameters
from tests.pictures import RAMP, saved

PARAMETERS: dict[str, Any] = {
    "prompt": "brass discs, on a blue bench",
    "negative_prompt": "blurred",
    "seed": 7,
    "steps": 20,
    "guidance": 7.5,
    "sampler": "dpmpp_2m",
    "width": 16,
    "height": 12,
    "model": "controlnet-demo",
    "model_version": "3",
    "model_digest": "sha256:" + "0123456789abcdef" * 4,
    "controls": [
        {
            "type": "canny",
            "annotator": "canny",
            "parameters": {"low_threshold": 100.0},
            "strength": 0.8,
            "start": 0.0,
            "end": 1.0,
            "mode": "balanced",
        }
    ],
}


def texts(png: bytes) -> dict[str, str]:
    with Image.open(io.BytesIO(png)) as image:
        return dict(image.text)


def settings(text: str) -> dict[str, str]:
    """The last line, read as the web UI reads it: names, colons, values that are quoted where they hold a comma."""
    found = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', text.splitlines()[-1])
    return {name: json.loads(value) if value.startswith('"') else value for name, value in found}


def test_pixels_and_parameters_come_back() -> None:
    png = encode_png(RAMP, PARAMETERS)
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), RAMP)
    assert read_parameters(png) == PARAMETERS


def test_equal_arguments_give_equal_bytes_in_whatever_order() -> None:
    assert encode_png(RAMP, PARAMETERS) == encode_png(RAMP.copy(), dict(reversed(PARAMETERS.items())))
    assert encode_png(RAMP, PARAMETERS) != encode_png(RAMP, PARAMETERS | {"seed": 8})


def test_the_layout_of_an_array_does_not_matter() -> None:
    assert encode_png(RAMP[:, ::-1], {}) == encode_png(RAMP[:, ::-1].copy(), {})


def test_no_parameters_no_text() -> None:
    assert texts(encode_png(RAMP, {})) == {}


def test_other_tools_read_prompt_and_settings() -> None:
    text = texts(encode_png(RAMP, PARAMETERS))["parameters"]
    prompt, negative, _ = text.split("\n")
    assert prompt == "brass discs, on a blue bench"
    assert negative == "Negative prompt: blurred"
    found = settings(text)
    control = found.pop("ControlNet 0")
    assert found == {
        "Steps": "20",
        "Sampler": "DPM++ 2M",
        "CFG scale": "7.5",
        "Seed": "7",
        "Size": "16x12",
        "Model hash": "0123456789",
        "Model": "controlnet-demo",
    }
    assert settings(control) == {
        "Module": "canny",
        "Model": "canny",
        "Weight": "0.8",
        "Guidance Start": "0",
        "Guidance End": "1",
        "Control Mode": "Balanced",
    }


def test_without_a_negative_prompt_there_is_no_line_for_it() -> None:
    assert "Negative" not in texts(encode_png(RAMP, PARAMETERS | {"negative_prompt": ""}))["parameters"]


@pytest.mark.parametrize(
    "prompt", ["ein Zahnrad aus Messing, größer", "黄铜齿轮 🪙", "two\nlines", "", "a\x00b", "\ud83e"]
)
def test_any_prompt_survives(prompt: str) -> None:
    png = encode_png(RAMP, PARAMETERS | {"prompt": prompt})
    assert read_parameters(png)["prompt"] == prompt
    assert settings(texts(png)["parameters"])["Seed"] == "7"


def test_only_what_was_given_is_written() -> None:
    text = texts(encode_png(RAMP, {"prompt": "a gear", "seed": 1}))
    assert json.loads(text["controlnet"]) == {"prompt": "a gear", "seed": 1}
    assert text["parameters"] == "a gear\nSeed: 1, Size: 16x12"


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_png(RAMP, {"guidance": float("nan")})


@pytest.mark.parametrize("picture", [RAMP.astype(np.float32), RAMP[:, :, 0], RAMP[:, :, :2]])
def test_what_is_no_picture_is_refused(picture: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(str(picture.shape))):
        encode_png(picture, {})


@pytest.mark.parametrize("data", [b"", b"GIF89a", saved(RAMP), saved(RAMP, "JPEG"), encode_png(RAMP, {})])
def test_a_picture_that_says_nothing_has_no_parameters(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no (PNG|parameters)"):
        read_parameters(data)
