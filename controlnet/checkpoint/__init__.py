"""Checkpoints from elsewhere, and back: the original's single files, the folders of diffusers."""

from controlnet.checkpoint.strict import CheckpointError, load_strict

__all__ = ["CheckpointError", "load_strict"]
