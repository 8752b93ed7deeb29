"""diffusers' own pipeline over the exported demo."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from controlnet.bundle import Bundle
from controlnet.checkpoint import export_diffusers
from controlnet.pipeline import ImageSpec


class Diffusers:
    """`StableDiffusionControlNetPipeline` with its DDIM scheduler, in float32.

    Args:
        bundle: What to export.
        control: Its one control.
        folder: Where to; it must not exist.
    """

    def __init__(self, bundle: Bundle, control: str, folder: Path) -> None:
        import diffusers
        import transformers

        for library in (diffusers, transformers):
            library.utils.logging.set_verbosity_error()
            library.utils.logging.disable_progress_bar()
        export_diffusers(bundle, folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what diffusers itself imports
            net = diffusers.ControlNetModel.from_pretrained(folder, subfolder=f"controlnet_{control}")
            pipeline = diffusers.StableDiffusionControlNetPipeline.from_pretrained(folder, controlnet=net)
        pipeline.to("cpu", torch.float32).set_progress_bar_config(disable=True)
        self._pipeline = pipeline

    @torch.inference_mode()
    def picture(self, spec: ImageSpec, noise: Tensor) -> npt.NDArray[np.uint8]:
        """Make an image with one control from the noise [C, h, w]; uint8 [H, W, 3]."""
        (control,) = spec.controls
        made = self._pipeline(
            spec.prompt,
            image=control.hint[None],
            negative_prompt=spec.negative_prompt,
            num_inference_steps=spec.steps,
            guidance_scale=spec.guidance,
            controlnet_conditioning_scale=control.strength,
            latents=noise[None],
            height=spec.height,
            width=spec.width,
            output_type="np",
        ).images[0]
        picture: npt.NDArray[np.uint8] = (made * 255).round().astype(np.uint8)
        return picture
