"""What is asked over HTTP: a mixed crowd as request bodies, each with a picture of its own that is to be annotated."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from controlnet.bundle import DEMO, Bundle
from ops.bench.crowds import mixed
from ops.bench.subjects import Subject
from serve.imaging.png import encode_png

Body = dict[str, Any]
"""Of `POST /v1/images`; one image."""


def bodies(subject: Subject, count: int, steps: Sequence[int]) -> dict[str, Body]:
    """`crowds.mixed` by name, every parameter stated. The bundle's own annotator parameters, so that peers know them.

    The picture of a control is what `mixed` takes for its map: what the annotator makes of it has edges everywhere.
    """
    controls = Bundle.open(DEMO).manifest.controls
    asked: dict[str, Body] = {}
    for name, spec in mixed(subject, count, steps).items():
        asked[name] = {
            "prompt": spec.prompt,
            "negative_prompt": spec.negative_prompt,
            "steps": spec.steps,
            "guidance": spec.guidance,
            "seed": spec.seed,
            "width": spec.width,
            "height": spec.height,
            "sampler": spec.sampler,
            "controls": [
                {
                    "type": control.name,
                    "image": base64.b64encode(_png(control.hint)).decode(),
                    "parameters": controls[control.name].parameters,
                    "start": control.start,
                    "end": control.end,
                }
                for control in spec.controls
            ],
        }
    return asked


def _png(hint: Tensor) -> bytes:
    """[3, H, W] in [0, 1] -> a file."""
    return encode_png((255 * hint).byte().permute(1, 2, 0).contiguous().numpy(), {})
