"""A body of `POST /v1/images` without the platform: what every peer does before and after sampling.

Picture, annotator, pipeline and PNG encoder are the platform's own, so that only the serving differs.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from controlnet.annotators import make_map
from controlnet.pipeline import Control, ImageSpec
from controlnet.pixels import to_hint
from ops.bench.bodies import Body


def spec_of(body: Body) -> ImageSpec:
    """Decode and annotate the pictures; no thread of torch's works for it (see `ops.bench.threads`)."""
    width, height = body["width"], body["height"]
    controls = []
    for control in body["controls"]:
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(control["image"]))).convert("RGB"))
        hint = to_hint(make_map(picture, control["type"], control["parameters"], width, height))
        controls.append(Control(control["type"], hint, start=control["start"], end=control["end"]))
    return ImageSpec(
        body["prompt"],
        width,
        height,
        negative_prompt=body["negative_prompt"],
        steps=body["steps"],
        guidance=body["guidance"],
        seed=body["seed"],
        sampler=body["sampler"],
        controls=tuple(controls),
    )
