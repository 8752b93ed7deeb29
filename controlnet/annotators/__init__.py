"""Annotators: picture -> control map. No torch here; these run on CPU replicas and in the API's address space.

`ANNOTATORS` is the registry; one family lives in one file. All of them take and give uint8 RGB [H, W, 3], keep the
size, and are pure: equal inputs, equal maps.
"""

from controlnet.annotators.annotator import Annotator, Parameter
from controlnet.annotators.image import fit, resize, size_to_sample, to_rgb
from controlnet.annotators.maps import make_map
from controlnet.annotators.registry import ANNOTATORS, find, namesake

__all__ = [
    "ANNOTATORS",
    "Annotator",
    "Parameter",
    "find",
    "fit",
    "make_map",
    "namesake",
    "resize",
    "size_to_sample",
    "to_rgb",
]
