"""Measure a bundle: how sharp its autoencoder is, and how well its pictures follow their maps."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch

from controlnet.annotators import find
from controlnet.generate import generate
from controlnet.pipeline import Control, ImageSpec, Pipeline
from controlnet.training.data import Bytes, Pictures, to_hint, to_tensor
from controlnet.training.grids import reconstructions
from controlnet.training.measure import canny_f1

CANNY = {"low_threshold": 60.0, "high_threshold": 140.0}
"""Thresholds that the measurements use, for maps and for results; also the bundle's defaults."""


CONDITIONS: Mapping[str, tuple[float, bool]] = MappingProxyType(
    {
        "canny_f1_control_g1": (1.0, True),
        "canny_f1_control_g3": (3.0, True),
        "canny_f1_no_control_g3": (3.0, False),
    }
)
"""What samples are measured under: guidance, and whether the map steers."""


def evaluate(
    pipeline: Pipeline,
    control: str,
    pictures: Pictures,
    count: int = 64,
    conditions: Mapping[str, tuple[float, bool]] = CONDITIONS,
) -> dict[str, float]:
    """Measure on the first `count` held-out pictures: 20 steps of DDIM, seeds 0, 1, 2 ...

    An F1 score says how well the canny edges of a result agree with those of the picture that the map
    came from, within one pixel. `canny_f1_unrelated`, of a picture with the map of the next one, is what
    agreement by chance is worth; `canny_f1_vae`, of the autoencoder alone, is what can be reached.

    Args:
        pipeline: with the control.
        control: name of a control whose annotator is canny.
        pictures: what the model has not seen.
        count: of pictures.
        conditions: guidance, and whether the map steers, by the name of the measurement.

    Returns:
        Means by name.
    """
    annotate = find("canny")
    count = min(count, len(pictures))
    true = [pictures.image(i) for i in range(count)]
    maps = [annotate(image, CANNY) for image in true]
    texts = [pictures.captions(i)[0] for i in range(count)]

    def score(made: Sequence[Bytes]) -> float:
        pairs = zip((annotate(image, CANNY) for image in made), maps, strict=True)
        return float(np.mean([canny_f1(a[..., 0] > 0, b[..., 0] > 0) for a, b in pairs]))

    def sample(guidance: float, controlled: bool) -> list[Bytes]:
        specs = []
        for i, text in enumerate(texts):
            controls = (Control(control, to_hint(maps[i])),) if controlled else ()
            height, width = true[i].shape[:2]
            specs.append(ImageSpec(text, width, height, guidance=guidance, seed=i, controls=controls))
        made: list[Bytes] = []
        for start in range(0, count, 16):
            made += generate(pipeline, specs[start : start + 16])
        return made

    _, vae = reconstructions(pipeline.vae, torch.stack([to_tensor(image) for image in true]))
    return {
        "images": float(count),
        "psnr_vae": vae["psnr"],
        "canny_f1_vae": vae["canny_f1"],
        "canny_f1_unrelated": score([*true[1:], true[0]]),
        **{name: score(sample(guidance, controlled)) for name, (guidance, controlled) in conditions.items()},
    }
