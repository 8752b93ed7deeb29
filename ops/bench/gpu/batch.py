"""The tensors of batches of fixed shapes, and what is recorded to read and write them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from controlnet.control import ControlNet
from controlnet.diffusion import Schedule
from controlnet.samplers import advance
from controlnet.unet import UNet
from controlnet.vae import VAE
from ops.bench.gpu.lanes import Lane, Recorded
from ops.bench.gpu.naive import decode
from ops.bench.gpu.networks import Networks, Size

Piece = Callable[..., list[Tensor]]
Wrap = Callable[[Piece], Piece]  # compiles a piece, or leaves it


class Bucket:
    """A batch of R rows, R/2 images, and the two halves of the UNet.

    Attributes:
        numbers: Of each image's step: timestep, guidance, c0..c3 [R/2,6].
        latents: [R/2,C,h,w] float32, as `previous`.
        context: [R,T,D], conditional rows first.
        hints: Embedded, by control [R/2,C0,h,w].
        totals: Sums of residuals.
        prediction: What the UNet last said [R,C,h,w], until the next step.
    """

    def __init__(self, networks: Networks, size: Size, rows: int, lane: Lane, wrap: Wrap, *, graph: bool) -> None:
        numbers, device, dtype = size.architecture, networks.device, networks.dtype
        side = size.side // numbers.vae.factor
        self.rows, self.images = rows, rows // 2
        self.numbers = torch.ones(self.images, 6, device=device)
        self.latents = torch.zeros(self.images, numbers.unet.in_channels, side, side, device=device)
        self.previous = torch.zeros_like(self.latents)
        text = (numbers.text.max_position_embeddings, numbers.unet.context_dim)
        self.context = torch.zeros(rows, *text, device=device, dtype=dtype)
        hint = (self.images, numbers.unet.model_channels, side, side)
        self.hints = [torch.zeros(hint, device=device, dtype=dtype) for _ in networks.controls]

        down, up = wrap(_descend), wrap(_ascend)
        self._descend = Recorded(
            lambda: down(networks.unet, self.latents, self.numbers, self.context), lane, graph=graph
        )
        self._features = self._descend()
        self.totals = [torch.zeros_like(feature) for feature in self._features[1:]]
        self._dirty = False

        def ascend() -> Tensor:
            state = (self.latents, self.previous, self.numbers, self.context)
            moved, x0, prediction = up(networks.unet, networks.schedule, self._features, self.totals, *state)
            self.latents.copy_(moved)
            self.previous.copy_(x0)
            return prediction

        self._ascend = Recorded(ascend, lane, graph=graph)
        self.prediction = self._ascend()

    def clear(self) -> None:
        """Begin a step's sum of residuals."""
        if self._dirty:
            torch._foreach_zero_(self.totals)
        self._dirty = False

    def add(self, residuals: list[Tensor], index: Tensor | None) -> None:
        """Add residuals to the rows of `index`, to all rows in their order if None."""
        self._dirty = True
        if index is None:
            torch._foreach_add_(self.totals, residuals)
            return
        for total, residual in zip(self.totals, residuals, strict=True):
            total.index_add_(0, index, residual)

    def descend(self) -> None:
        """Run the way down and keep what it leaves for the way up."""
        self._features = self._descend()

    def ascend(self) -> None:
        """Run the way up, guide, and take the sampler's step."""
        self.prediction = self._ascend()


class Group:
    """Rows of one control: copies of those of a bucket, and the ControlNet that reads them."""

    def __init__(self, networks: Networks, control: int, like: Bucket, lane: Lane, wrap: Wrap, *, graph: bool) -> None:
        net, rows = networks.controls[control], like.rows
        self.control, self.rows = control, rows
        self._x = torch.zeros_like(like.latents[:1], dtype=networks.dtype).repeat(rows, 1, 1, 1)
        self._t = torch.zeros(rows, device=networks.device, dtype=torch.int64)
        self._context = torch.zeros_like(like.context)
        self._hint = torch.zeros_like(like.hints[control][:1]).repeat(rows, 1, 1, 1)
        self._scale = torch.ones_like(self._x[:, :1, :1, :1])
        run = wrap(_control)
        self._run = Recorded(
            lambda: run(net, self._x, self._hint, self._t, self._context, self._scale), lane, graph=graph
        )

    def steer(self, bucket: Bucket, index: Tensor, scale: Tensor, *, all_rows: bool) -> None:
        """Add the control's residuals to some rows of a bucket.

        Args:
            bucket: Of as many rows or more.
            index: Its rows, padded with any of them.
            scale: 1, and 0 where padded [rows,1,1,1].
            all_rows: They are all its rows, in order.
        """
        image = index % bucket.images
        self._x.copy_(bucket.latents[image])
        self._t.copy_(bucket.numbers[image, 0])
        self._context.copy_(bucket.context[index])
        self._hint.copy_(bucket.hints[self.control][image])
        self._scale.copy_(scale)
        bucket.add(self._run(), None if all_rows else index)


class Decoder:
    """A finished latent [1,C,h,w] and the VAE that makes a picture of it: one, because one fills a GPU."""

    def __init__(self, networks: Networks, size: Size, lane: Lane, wrap: Wrap, *, graph: bool) -> None:
        side = size.side // size.architecture.vae.factor
        self.latent = torch.zeros(1, size.architecture.vae.embed_dim, side, side, device=networks.device)
        run = wrap(_decode)
        self._run = Recorded(lambda: run(networks.vae, self.latent, networks.dtype)[0], lane, graph=graph)

    def picture(self) -> Tensor:
        """Uint8 [H,W,3] of what `latent` holds."""
        return self._run()[0]


def _descend(unet: UNet, latents: Tensor, numbers: Tensor, context: Tensor) -> list[Tensor]:
    """The time's embedding, and the features of the way down."""
    x = latents.to(context.dtype).repeat(2, 1, 1, 1)
    emb = unet.embed_time(numbers[:, 0].long().repeat(2))
    return [emb, *unet.descend(x, emb, context)]


def _control(net: ControlNet, x: Tensor, hint: Tensor, t: Tensor, context: Tensor, scale: Tensor) -> list[Tensor]:
    return [residual * scale for residual in net(x, hint, t, context)]


def _ascend(
    unet: UNet,
    schedule: Schedule,
    features: list[Tensor],
    totals: list[Tensor],
    latents: Tensor,
    previous: Tensor,
    numbers: Tensor,
    context: Tensor,
) -> list[Tensor]:
    """The latents at the next timestep, the clean ones that were seen, and the prediction."""
    emb, *skips = features
    prediction = unet.ascend([a + b for a, b in zip(skips, totals, strict=True)], emb, context).float()
    conditional, unconditional = prediction.chunk(2)
    guided = unconditional + numbers[:, 1].view(-1, 1, 1, 1) * (conditional - unconditional)
    x0 = schedule.to_x0(latents, guided, numbers[:, 0].long())
    moved = advance(latents, x0, previous, torch.zeros_like(x0), numbers[:, 2:])
    return [moved, x0, prediction]


def _decode(vae: VAE, latents: Tensor, dtype: torch.dtype) -> list[Tensor]:
    return [decode(vae, latents, dtype)]
