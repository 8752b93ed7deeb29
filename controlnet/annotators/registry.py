"""The annotators by name."""

from collections.abc import Mapping
from types import MappingProxyType

from controlnet.annotators.annotator import Annotator
from controlnet.annotators.edges import CANNY
from controlnet.annotators.tone import INVERT, NONE, THRESHOLD

ANNOTATORS: Mapping[str, Annotator] = MappingProxyType({a.name: a for a in (CANNY, INVERT, NONE, THRESHOLD)})


def find(name: str) -> Annotator:
    """The annotator of that name.

    Raises:
        ValueError: There is none; the message lists the choices.
    """
    if name not in ANNOTATORS:
        raise ValueError(f"annotator {name!r} is unknown: choose from {', '.join(ANNOTATORS)}")
    return ANNOTATORS[name]


def namesake(control: str) -> str:
    """Name of the annotator that makes a control's maps where nobody says another: its own, or `none`."""
    return control if control in ANNOTATORS else "none"
