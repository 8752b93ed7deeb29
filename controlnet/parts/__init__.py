"""Machined parts on a workshop bench: a procedural data set for text and image conditioning.

A seed draws a ``Scene``; ``render`` turns it into a picture with exact depth, segmentation and
material maps; ``caption`` puts it into words of a closed ``VOCABULARY``. Everything comes from one
height field seen obliquely, so the maps agree with the picture to the pixel, and nothing but the
seed decides the result. ``held_out`` keeps some combinations of part, material and bench from
training, to see whether a model composes or remembers.
"""

from controlnet.parts.dataset import PartsDataset, read_dataset, write_dataset
from controlnet.parts.render import PALETTE, Rendering, render
from controlnet.parts.scene import (
    BENCHES,
    DEFECTS,
    HELD_OUT,
    KINDS,
    MATERIALS,
    VOCABULARY,
    Light,
    Part,
    Scene,
    caption,
    held_out,
    sample_scene,
)

__all__ = [
    "BENCHES",
    "DEFECTS",
    "HELD_OUT",
    "KINDS",
    "MATERIALS",
    "PALETTE",
    "VOCABULARY",
    "Light",
    "Part",
    "PartsDataset",
    "Rendering",
    "Scene",
    "caption",
    "held_out",
    "read_dataset",
    "render",
    "sample_scene",
    "write_dataset",
]
