"""The four networks with the weights of a golden set, and all that they compute from its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from controlnet.architecture import ControlConfig, ScheduleConfig, TextConfig, UNetConfig, VAEConfig
from controlnet.control import ControlNet
from controlnet.diffusion import Schedule
from controlnet.samplers import advance, ddim
from controlnet.text import TextEncoder
from controlnet.unet import UNet
from controlnet.vae import VAE
from tests.controlnet.golden.sets import Golden

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Networks:
    """The networks of a checkpoint, every key of it accounted for."""

    spec: Mapping[str, Any]
    unet: UNet
    control: ControlNet
    vae: VAE
    text: TextEncoder

    @classmethod
    def load(cls, golden: Golden, dtype: torch.dtype = torch.float32) -> Networks:
        """The networks with a golden set's weights."""
        spec, sizes = golden.spec, golden.spec["unet"]
        config = UNetConfig(
            model_channels=sizes["model_channels"],
            channel_mult=tuple(sizes["channel_mult"]),
            num_heads=sizes["num_heads"],
            context_dim=sizes["context_dim"],
        )
        nets = cls(
            spec,
            unet=UNet(config),
            control=ControlNet(config, ControlConfig()),
            vae=VAE(VAEConfig(channels=spec["vae_ch"], channel_mult=tuple(spec["vae_ch_mult"]))),
            text=TextEncoder(TextConfig(**spec["text"], bos_token_id=598, eos_token_id=599, pad_token_id=599)),
        )
        weights = load_file(golden.checkpoint)
        for module, prefix in [
            (nets.unet, "model.diffusion_model."),
            (nets.control, "control_model."),
            (nets.vae, "first_stage_model."),
            (nets.text.transformer, "cond_stage_model.transformer.text_model."),
        ]:
            own = {name: weights.pop(name) for name in list(weights) if name.startswith(prefix)}
            own.pop(prefix + "embeddings.position_ids", None)
            module.load_state_dict({name.removeprefix(prefix): weight.float() for name, weight in own.items()})
            module.to(dtype).eval()
        assert all("." not in name for name in weights), "only the schedule's tables are left"
        return nets

    def residuals(self, given: Tensors) -> Sequence[Tensor]:
        """The ControlNet's 13 residuals."""
        return self.control(given["x"], self.control.embed(given["hint"]), given["t"], given["context"])

    def decode(self, latent: Tensor) -> Tensor:
        """The picture of a run's end."""
        return self.vae.decode(self.vae.from_latent(latent))

    def run(self, given: Tensors, settings: Mapping[str, Any]) -> Tensor:
        """DDIM from `x` to the end, as the original does it: with guidance, strength and guess mode."""
        guess = settings["guess"]
        scales = [settings["strength"] * (0.825 ** (12 - i) if guess else 1.0) for i in range(13)]
        schedule = Schedule(ScheduleConfig(prediction=self.spec["parameterization"]))
        plan = ddim(schedule, settings["steps"], timesteps="original")

        x, embedded = given["x"], self.control.embed(given["hint"])
        zeros = torch.zeros_like(x)

        def predict(x: Tensor, t: Tensor, context: Tensor, controlled: bool) -> Tensor:
            steering = self.control(x, embedded, t, context) if controlled else ()
            control = [scale * residual for scale, residual in zip(scales, steering, strict=False)]
            return self.unet(x, t, context, control or None)

        for t, coefficients in zip(plan.timesteps, plan.coefficients, strict=True):
            t = t.expand(len(x))
            conditional = predict(x, t, given["context"], controlled=True)
            unconditional = predict(x, t, given["ucontext"], controlled=not guess)
            output = unconditional + settings["guidance"] * (conditional - unconditional)
            x = advance(x, schedule.to_x0(x, output, t), zeros, zeros, coefficients.expand(len(x), 4))
        return x

    @torch.no_grad()
    def outputs(self, inputs: Tensors) -> dict[str, Tensor]:
        """Everything that a golden set expects, from its inputs alone."""
        texts = {"context": self.text(inputs["ids"]), "ucontext": self.text(inputs["uids"])}
        given = {**inputs, **texts}
        residuals = self.residuals(given)
        posterior = self.vae.encode(given["image_in"])
        latents = {name: self.run(given, settings) for name, settings in self.spec["runs"].items()}
        return {
            **texts,
            **{f"control.{i}": residual for i, residual in enumerate(residuals)},
            "eps": self.unet(given["x"], given["t"], given["context"], residuals),
            "eps_nocontrol": self.unet(given["x"], given["t"], given["context"]),
            "vae.mean": posterior.mean,
            "vae.logvar": posterior.logvar,
            **{f"ddim.{name}": latent for name, latent in latents.items()},
            **{f"image.{name}": self.decode(latent) for name, latent in latents.items()},
        }
