"""The reference, as a first implementation has it: one image at a time, eager, NCHW, everything every step, inline."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from controlnet.samplers import advance, ddim
from controlnet.vae import VAE
from ops.bench.gpu.networks import Image, Networks


def predict(networks: Networks, image: Image, latent: Tensor, timestep: int) -> Tensor:
    """The rows of one image, conditional first: what the UNet says, [2,C,h,w] float32. The hint is embedded here."""
    x = latent.to(networks.dtype).expand(2, -1, -1, -1)
    t = torch.full((2,), timestep, device=networks.device)
    context, hint = image.context.to(networks.dtype), image.hint.to(networks.dtype).expand(2, -1, -1, -1)
    total: list[Tensor] | None = None
    for number in image.controls:
        net = networks.controls[number]
        residuals = net(x, net.embed(hint), t, context)
        total = list(residuals) if total is None else [a + b for a, b in zip(total, residuals, strict=True)]
    return networks.unet(x, t, context, total).float()  # type: ignore[no-any-return]


@torch.no_grad()
def make(networks: Networks, image: Image) -> Tensor:
    """The picture, uint8 [H,W,3] on the CPU."""
    plan = ddim(networks.schedule, image.steps)
    latent = image.noise
    lines = zip(plan.timesteps.tolist(), plan.coefficients.to(networks.device), strict=True)
    for index, (timestep, line) in enumerate(lines):
        asked = image if image.acts(index) else replace(image, controls=())
        conditional, unconditional = predict(networks, asked, latent, timestep)
        guided = unconditional + image.guidance * (conditional - unconditional)
        t = torch.full((1,), timestep, device=networks.device)
        x0 = networks.schedule.to_x0(latent[None], guided[None], t)[0]
        rows = (latent[None], x0[None], torch.zeros_like(x0[None]), torch.zeros_like(x0[None]))
        latent = advance(*rows, line[None])[0]
    return decode(networks.vae, latent[None], networks.dtype)[0].cpu()


def decode(vae: VAE, latents: Tensor, dtype: torch.dtype) -> Tensor:
    """Pictures uint8 [B,H,W,3] of latents [B,C,h,w], decoded at `dtype`."""
    decoded = vae.decode(vae.from_latent(latents.to(dtype))).float()
    return (decoded.clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
