"""Checkpoints from elsewhere, and back: the original's single files, the folders of diffusers.

Importing gives state dicts under this library's names, checked to the last key; `controlnet.bundle.write_bundle` makes
a bundle of them. Exporting starts from a bundle.
"""

from controlnet.checkpoint.card import ModelCard, read_card
from controlnet.checkpoint.exports import export_control, export_diffusers, export_original
from controlnet.checkpoint.extend import extend_bundle
from controlnet.checkpoint.imports import Imported, import_checkpoint, import_control, import_diffusers
from controlnet.strict import CheckpointError

__all__ = [
    "CheckpointError",
    "Imported",
    "ModelCard",
    "export_control",
    "export_diffusers",
    "export_original",
    "extend_bundle",
    "import_checkpoint",
    "import_control",
    "import_diffusers",
    "read_card",
]
