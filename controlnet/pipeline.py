"""Pictures from prompts and hints, in three verbs: encode, step, decode.

The caller owns the loop. `step` advances any mix of images by one step each: they may differ in timestep, number of
steps, sampler, guidance, controls, their strength and window. `controlnet.generate` is the plain loop around it,
`serve.engine` the continuous one; both get the same pictures.

A **row** is one line of a UNet batch: an image has a conditional row, and an unconditional one unless its guidance
is 1. Rows are padded up to a **bucket**, for each network by itself, because at one batch shape a row's bits do not
depend on its neighbours. `pinned` fixes that bucket for every network, and with it the picture's bytes.
"""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from controlnet.architecture import Architecture
from controlnet.bundle import Bundle
from controlnet.control import ControlNet
from controlnet.determinism import without_cudnn
from controlnet.diffusion import Schedule
from controlnet.finite import NotFinite, finite
from controlnet.layout import channels_last
from controlnet.pixels import Bytes, to_bytes
from controlnet.samplers import SAMPLERS, Plan, advance, ddim
from controlnet.strict import load_strict
from controlnet.text import TextEncoder, Tokenizer
from controlnet.unet import UNet
from controlnet.vae import VAE
from controlnet.warnings import ResultWarning

BUCKETS = (1, 2, 4, 8, 16, 32)
LARGEST_SEED = 2**64 - 1  # what PyTorch's generators take
REST_SHOWN = 80  # characters of a text that is cut which a warning repeats
TEXTS_KEPT = 256  # encoded texts that a pipeline remembers; 60 MB of SD 1.5's, in float32

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """One control of one image.

    Attributes:
        name: Which ControlNet of the pipeline.
        hint: Control map, [3, H, W] in [0, 1], at the size of the image. Images that share the tensor share its
            embedding.
        strength: Multiplies all residuals.
        start: Share of the steps before the control begins to act, 0 .. 1.
        end: Share of the steps after which it has ended, `start` .. 1.
        guess: Guess mode: no control on the unconditional row, residuals weighted 0.825^k from the deepest up.
        scales: Further weights, one per residual (13 in SD 1.5, shallow first); empty for all ones.
    """

    name: str
    hint: Tensor
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    guess: bool = False
    scales: tuple[float, ...] = ()

    def weights(self, count: int) -> list[float]:
        """The factor of each of `count` residuals."""
        if self.scales and len(self.scales) != count:
            raise ValueError(f"control {self.name!r} has {len(self.scales)} scales, its network {count} residuals")
        soft = [0.825 ** (count - 1 - i) if self.guess else 1.0 for i in range(count)]
        return [self.strength * a * b for a, b in zip(soft, self.scales or (1.0,) * count, strict=True)]

    def acts(self, index: int, steps: int) -> bool:
        """Whether the window covers step `index` of `steps` wholly (the convention of diffusers)."""
        return index / steps >= self.start and (index + 1) / steps <= self.end


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """One image to make; `width` and `height` in pixels, multiples of the architecture's `multiple`."""

    prompt: str
    width: int
    height: int
    negative_prompt: str = ""
    steps: int = 20
    guidance: float = 7.5
    seed: int = 0
    sampler: str = "ddim"
    eta: float = 0.0
    timesteps: Literal["exact", "original"] = "exact"
    controls: tuple[Control, ...] = ()

    @property
    def rows(self) -> int:
        """UNet rows the image takes."""
        return 1 if self.guidance == 1.0 else 2


@dataclass(frozen=True, slots=True, eq=False)
class ImageState:
    """An image on its way. Never mutated: a step that fails leaves the state it started from.

    Attributes:
        spec: What was asked.
        plan: Timesteps and coefficients of its sampler.
        index: Steps done.
        latent: [C, h, w] float32.
        previous_x0: The last step's estimate of the clean latent, which multistep samplers need, [C, h, w].
        context: Encoded prompt and, with guidance, negative prompt, [rows, T, D].
        hints: Embedded hint of each control, [C0, h, w].
    """

    spec: ImageSpec
    plan: Plan
    index: int
    latent: Tensor
    previous_x0: Tensor
    context: Tensor
    hints: tuple[Tensor, ...]

    @property
    def steps(self) -> int:
        """Steps in all; the `original` list of timesteps may hold more than were asked for."""
        return len(self.plan.timesteps)

    @property
    def done(self) -> bool:
        """Whether all steps are done."""
        return self.index == self.steps


def bucket_for(count: int, buckets: Sequence[int] = BUCKETS) -> int:
    """The smallest bucket that holds `count` rows."""
    for bucket in buckets:
        if count <= bucket:
            return bucket
    raise ValueError(f"{count} rows do not fit the largest bucket {buckets[-1]}")


class Pipeline:
    """The networks of one bundle on one device.

    Args:
        architecture: Numbers of the networks.
        unet: Predicts eps or v, as `architecture.schedule.prediction` says.
        vae: Pictures <-> latents.
        text: Token ids -> context.
        tokenizer: Texts -> token ids.
        controls: ControlNets by name.
        device: Where the networks are and rows are computed.
        dtype: Of weights and activations; sampler arithmetic is float32 always.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        unet: UNet,
        vae: VAE,
        text: TextEncoder,
        tokenizer: Tokenizer,
        controls: Mapping[str, ControlNet],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.architecture = architecture
        self.device = torch.device(device)
        self.dtype = dtype
        self.unet, self.vae, self.text = self._place(unet), self._place(vae), self._place(text)
        self.tokenizer = tokenizer
        self.controls = {name: self._place(net) for name, net in controls.items()}
        self.schedule = Schedule(architecture.schedule)
        # An embedding lives as long as the hint it was made from, so that images of one job share it.
        self._embedded: MutableMapping[Tensor, dict[tuple[str, int | None], Tensor]] = WeakTensorKeyDictionary()
        # Most requests share their negative prompt, and all images of a job its prompt. Used longest ago first.
        self._contexts: dict[tuple[str, int | None], Tensor] = {}
        self._precise: VAE | None = None
        self._making_precise = threading.Lock()  # decoding and previews are of two threads

    @classmethod
    def load(
        cls, bundle: Bundle | Path | str, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> Pipeline:
        """Build the networks without memory of their own and give them the mapped tensors of the bundle's files.

        Args:
            bundle: An open bundle or its folder; its files are not hashed here (`Bundle.verify` does).
            device: Where to compute.
            dtype: float32 on a CPU and float16 elsewhere when absent.

        Raises:
            CheckpointError: A file's keys or shapes are not the architecture's; all of them are listed.
        """
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(Path(bundle))
        numbers = opened.manifest.architecture
        with torch.device("meta"):
            unet, vae, text = UNet(numbers.unet), VAE(numbers.vae), TextEncoder(numbers.text)
            controls = {name: ControlNet(numbers.unet, numbers.control) for name in opened.manifest.controls}
        files: dict[str, nn.Module] = {"unet.safetensors": unet, "vae.safetensors": vae, "text.safetensors": text}
        files |= {control.file: controls[name] for name, control in opened.manifest.controls.items()}
        for file, net in files.items():
            load_strict(net, load_file(opened.path(file)), what=file)
        on = torch.device(device)
        return cls(
            numbers,
            unet=unet,
            vae=vae,
            text=text,
            tokenizer=Tokenizer(opened.path("tokenizer"), numbers.text.max_position_embeddings),
            controls=controls,
            device=on,
            dtype=dtype or (torch.float32 if on.type == "cpu" else torch.float16),
        )

    @property
    def nbytes(self) -> int:
        """Memory of all weights."""
        nets = [self.unet, self.vae, self.text, *self.controls.values()]
        return sum(weight.nbytes for net in nets for weight in net.parameters())

    @torch.inference_mode()
    def encode(self, specs: Sequence[ImageSpec], pinned: int | None = None) -> list[ImageState]:
        """Settle all that stays constant over the steps: plan, noise, context, embedded hints.

        A hint is encoded once in its life, a text once while it is among the last `TEXTS_KEPT`. Noise is drawn per
        image from a CPU generator of its own seed.

        Raises:
            ValueError: An unknown control or sampler, a size the networks cannot make, or a seed, a hint or scales
                out of bounds; it names the field and the bound.
        """
        for spec in specs:
            self._check(spec)
        texts = list(dict.fromkeys(text for spec in specs for text in (spec.prompt, spec.negative_prompt)[: spec.rows]))
        contexts = self._recall(texts, pinned)
        factor, channels = self.architecture.vae.factor, self.architecture.unet.in_channels
        states = []
        for spec in specs:
            noise = _noise(spec.seed, (channels, spec.height // factor, spec.width // factor)).to(self.device)
            states.append(
                ImageState(
                    spec=spec,
                    plan=self._plan(spec),
                    index=0,
                    latent=noise,
                    previous_x0=torch.zeros_like(noise),
                    context=torch.stack([contexts[t] for t in (spec.prompt, spec.negative_prompt)[: spec.rows]]),
                    hints=tuple(self._embed(control, pinned) for control in spec.controls),
                )
            )
        return states

    @torch.inference_mode()
    def step(self, states: Sequence[ImageState], pinned: int | None = None) -> list[ImageState]:
        """Advance each image by one step; all must have one latent size.

        Conditional rows come first, then the unconditional rows of those images that have one, then padding.
        Guidance is classifier-free guidance (Ho & Salimans 2022, eq. 6): u + g (c - u).
        """
        count = len(states)
        images = [*range(count), *(i for i, state in enumerate(states) if state.spec.rows == 2)]
        bucket = pinned or bucket_for(len(images))
        if len(images) > bucket:
            raise ValueError(f"{len(images)} rows do not fit the pinned bucket {bucket}")
        padded = images + [0] * (bucket - len(images))

        latents = torch.stack([state.latent for state in states])  # [B, C, h, w]
        timesteps = torch.stack([state.plan.timesteps[state.index] for state in states])  # [B]
        context = [state.context[0] for state in states] + [states[i].context[1] for i in images[count:]]
        context += context[:1] * (bucket - len(images))

        x = latents[padded].to(self.dtype)  # [R, C, h, w]
        t = timesteps[padded].to(self.device)
        rows = torch.stack(context)  # [R, T, D]
        with self._same_in_any_slot(pinned):
            output = self.unet(x, t, rows, self._residuals(states, images, x, t, rows, pinned)).float()

        # An image without an unconditional row is its own: u + g (c - u) = c.
        unconditional = list(range(count))
        for row, image in enumerate(images[count:], start=count):
            unconditional[image] = row
        guidance = torch.tensor([state.spec.guidance for state in states], device=self.device).view(-1, 1, 1, 1)
        u, c = output[unconditional], output[:count]
        x0 = self.schedule.to_x0(latents, u + guidance * (c - u), timesteps.to(self.device))

        coefficients = torch.stack([state.plan.coefficients[state.index] for state in states]).to(self.device)  # [B, 4]
        previous = torch.stack([state.previous_x0 for state in states])
        noise = torch.stack([self._step_noise(state) for state in states])
        advanced = advance(latents, x0, previous, noise, coefficients)
        return [
            replace(state, index=state.index + 1, latent=latent, previous_x0=estimate)
            for state, latent, estimate in zip(states, advanced, x0, strict=True)
        ]

    @torch.inference_mode()
    def decode(self, states: Sequence[ImageState], pinned: int | None = None) -> list[Bytes]:
        """Finished latents to pictures, uint8 [H, W, 3] RGB; all must have one latent size.

        A picture that the VAE cannot decode in half precision is decoded in float32.

        Raises:
            NotFinite: A network gave NaN or infinity for one of them.
        """
        latents = torch.stack([state.latent for state in states])
        whole = finite(latents)
        if not whole.all():  # one wait for the device, not one an image
            raise NotFinite(self._culprit(states[int(whole.int().argmin())]), self.dtype)
        bucket = pinned or bucket_for(min(len(states), BUCKETS[-1]))
        pictures: list[Bytes] = []
        for chunk in torch.split(latents, bucket):
            padded = torch.cat([chunk, chunk[:1].expand(bucket - len(chunk), -1, -1, -1)])
            with self._same_in_any_slot(pinned):
                pictures.extend(self._pixels(padded, len(chunk)))
        return pictures

    def warnings(self, spec: ImageSpec) -> list[ResultWarning]:
        """What of a request has no effect, or is rarely meant: texts that are cut, windows without a step.

        Raises:
            ValueError: As `encode` does.
        """
        self._check(spec)
        found = []
        for field, text in (("prompt", spec.prompt), ("negative_prompt", spec.negative_prompt))[: spec.rows]:
            if (cut := self.tokenizer.cut(text)) is not None:
                noun = field.replace("_", " ")
                rest = cut.rest if len(cut.rest) <= REST_SHOWN else f"{cut.rest[:REST_SHOWN]}..."
                detail = f"The {noun} has {cut.tokens} tokens and the model reads {cut.read}. Not read: {rest!r}."
                found.append(ResultWarning(f"{noun.replace(' ', '-')}-cut", field, detail))
        if spec.rows == 1 and spec.negative_prompt:
            detail = "Guidance is 1: the negative prompt has no effect."
            found.append(ResultWarning("negative-prompt-unused", "negative_prompt", detail))
        if spec.steps == 1:
            found.append(ResultWarning("one-step", "steps", "One step is too few for most models: the image is noise."))
        steps = len(self._plan(spec).timesteps)
        for i, control in enumerate(spec.controls):
            if not any(control.acts(index, steps) for index in range(steps)):
                detail = (
                    f"The control {control.name} has no effect: no step of {steps} lies whole between "
                    f"start {control.start:g} and end {control.end:g}. Steps are {1 / steps:.2g} wide."
                )
                found.append(ResultWarning("window-without-step", f"controls.{i}", detail))
        return found

    @torch.inference_mode()
    def preview(self, state: ImageState, side: int) -> Bytes:
        """What an image is about to be, small, uint8 [h, w, 3] RGB: the last step's estimate of its clean latent.

        The latent is shrunk before it is decoded, so that this costs a decode's time by the ratio of the areas.

        Args:
            state: Of an image that has had a step.
            side: About the longer side of the preview, in pixels.
        """
        height, width = state.previous_x0.shape[-2:]
        scale = min(1.0, side / (max(height, width) * self.architecture.vae.factor))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        small = nn.functional.interpolate(state.previous_x0[None], size, mode="area")  # [1, C, h', w']
        return self._pixels(small, 1)[0]

    def _pixels(self, latents: Tensor, count: int) -> list[Bytes]:
        """[B, C, h, w] -> uint8 [H, W, 3] of the first `count`. What is not finite is decoded alone in float32."""
        decoded = self.vae.decode(self.vae.from_latent(latents.to(self.dtype)))[:count].float()
        for i in (~finite(decoded)).nonzero().flatten().tolist():
            vae = self._precise_vae()
            decoded[i] = vae.decode(vae.from_latent(latents[i : i + 1].float()))[0]
            if not torch.isfinite(decoded[i]).all():
                raise NotFinite("VAE", torch.float32)
        return to_bytes(decoded)

    def _precise_vae(self) -> VAE:
        """The VAE in float32, which takes memory from the first time on that it is needed."""
        if self.dtype == torch.float32:
            return self.vae
        with self._making_precise:
            if self._precise is None:
                self._precise = copy.deepcopy(self.vae).float()
            return self._precise

    def _culprit(self, state: ImageState) -> str:
        """Which network's values are not finite, as far as the end of an image tells."""
        if not torch.isfinite(state.context).all():
            return "text encoder"
        for control, hint in zip(state.spec.controls, state.hints, strict=True):
            if not torch.isfinite(hint).all():
                return f"control {control.name}"
        if not state.spec.controls:
            return "UNet"
        (alone,) = self.step(self.encode([replace(state.spec, controls=())]))
        if not torch.isfinite(alone.latent).all():
            return "UNet"
        (first,) = self.step(self.encode([state.spec]))
        controls = f"control {' or '.join(dict.fromkeys(control.name for control in state.spec.controls))}"
        return f"UNet or the {controls}" if torch.isfinite(first.latent).all() else controls

    def _residuals(
        self,
        states: Sequence[ImageState],
        images: Sequence[int],
        x: Tensor,
        t: Tensor,
        context: Tensor,
        pinned: int | None,
    ) -> list[Tensor] | None:
        """Run each control on its own rows only, and only inside its window; sum into the whole batch's residuals."""
        groups: dict[str, list[tuple[int, Tensor, list[float]]]] = defaultdict(list)  # (row, hint, weights)
        for row, image in enumerate(images):
            state = states[image]
            for control, hint in zip(state.spec.controls, state.hints, strict=True):
                skip = control.guess and row >= len(states)
                if not skip and control.acts(state.index, state.steps):
                    weights = control.weights(self.architecture.unet.residuals)
                    groups[control.name].append((row, hint, weights))
        if not groups:
            return None

        total: list[Tensor] = []  # [R, h, w, C] each
        for name in sorted(groups):  # one order of summation, whoever the neighbours are
            entries = groups[name]
            # One image may use a control twice, so a group can outgrow the batch it belongs to.
            size = pinned or bucket_for(len(entries), (*BUCKETS, len(entries)))
            for begin in range(0, len(entries), size):
                chunk = entries[begin : begin + size]
                first = chunk[0]
                chunk = chunk + [(first[0], first[1], [0.0] * len(first[2]))] * (size - len(chunk))
                rows = torch.tensor([row for row, _, _ in chunk], device=self.device)
                hints = torch.stack([hint for _, hint, _ in chunk])
                scales = torch.tensor(
                    [weights for _, _, weights in chunk], device=self.device, dtype=self.dtype
                )  # [G, 13]
                residuals = self.controls[name](x[rows], hints, t[rows], context[rows])
                # Channels last, as the features that they are added to: across layouts both sums are slow.
                weighted = [
                    rearrange(residual, "g c h w -> g h w c") * scale
                    for residual, scale in zip(residuals, rearrange(scales, "g k -> k g 1 1 1"), strict=True)
                ]
                total = total or [part.new_zeros((len(x), *part.shape[1:])) for part in weighted]
                for whole, part in zip(total, weighted, strict=True):
                    whole.index_add_(0, rows, part)
        return [rearrange(whole, "r h w c -> r c h w") for whole in total]

    def _recall(self, texts: Sequence[str], pinned: int | None) -> dict[str, Tensor]:
        """The context [T, D] of each distinct text, from memory where it is there."""
        remembered = {text: self._contexts.pop((text, pinned), None) for text in texts}
        known = {text: context for text, context in remembered.items() if context is not None}
        if missing := [text for text in texts if text not in known]:
            known |= zip(missing, self._encode_texts(missing, pinned), strict=True)
        self._contexts |= {(text, pinned): known[text] for text in texts}
        for oldest in list(self._contexts)[:-TEXTS_KEPT]:
            self._contexts.pop(oldest, None)
        return known

    def _encode_texts(self, texts: Sequence[str], pinned: int | None) -> list[Tensor]:
        ids = self.tokenizer(texts)  # [N, T]
        size = pinned or bucket_for(min(len(texts), BUCKETS[-1]))
        encoded: list[Tensor] = []
        for chunk in torch.split(ids, size if pinned is None else 1):  # pinned, a text has all slots to itself
            padded = torch.cat([chunk, chunk[:1].expand(size - len(chunk), -1)])
            # Clones: a view of one row would keep the whole batch in memory for as long as it is remembered.
            encoded.extend(row.clone() for row in self.text(padded.to(self.device))[: len(chunk)])
        return encoded

    def _embed(self, control: Control, pinned: int | None) -> Tensor:
        """The embedded hint, [C0, h, w], computed once per hint tensor and control."""
        known = self._embedded.setdefault(control.hint, {})
        key = (control.name, pinned)
        if key not in known:
            hints = control.hint.to(self.device, self.dtype).expand(pinned or 1, -1, -1, -1)
            known[key] = self.controls[control.name].embed(hints)[0]
        return known[key]

    def _step_noise(self, state: ImageState) -> Tensor:
        """Fresh noise, where the sampler asks for some: a function of (seed, step), so that a retried step is equal."""
        if float(state.plan.coefficients[state.index, 3]) == 0.0:
            return torch.zeros_like(state.latent)
        seed = int(np.random.SeedSequence([state.spec.seed, state.index + 1]).generate_state(1, np.uint64)[0])
        return _noise(seed, tuple(state.latent.shape)).to(self.device)

    def _plan(self, spec: ImageSpec) -> Plan:
        if spec.sampler == "ddim":
            return ddim(self.schedule, spec.steps, spec.eta, spec.timesteps)
        if spec.eta != 0.0 or spec.timesteps != "exact":
            raise ValueError(f"sampler {spec.sampler!r} has no eta and no other timesteps than its own; ddim has")
        return SAMPLERS[spec.sampler](self.schedule, spec.steps)

    def _check(self, spec: ImageSpec) -> None:
        multiple = self.architecture.multiple
        if spec.width % multiple or spec.height % multiple or min(spec.width, spec.height) <= 0:
            raise ValueError(f"size {spec.width}x{spec.height} is not a positive multiple of {multiple}")
        if spec.sampler not in SAMPLERS:
            raise ValueError(f"sampler {spec.sampler!r} is not one of {sorted(SAMPLERS)}")
        if not 0 <= spec.seed <= LARGEST_SEED:
            raise ValueError(f"seed {spec.seed} is not in 0..{LARGEST_SEED}")
        expected = (self.architecture.control.conditioning_channels, spec.height, spec.width)
        for control in spec.controls:
            if control.name not in self.controls:
                raise ValueError(f"control {control.name!r} is not one of {sorted(self.controls)}")
            if tuple(control.hint.shape) != expected:
                raise ValueError(f"hint of control {control.name!r} is {tuple(control.hint.shape)}, not {expected}")
            if not control.hint.is_floating_point():  # bytes would steer 255 times too strongly
                raise ValueError(
                    f"hint of control {control.name!r} is {control.hint.dtype}: give floating point in [0, 1], "
                    "which controlnet.pixels.to_hint makes of bytes"
                )
            control.weights(self.architecture.unet.residuals)  # refuses scales of another count

    def _same_in_any_slot(self, pinned: int | None) -> AbstractContextManager[None]:
        """What a pinned batch of a GPU runs in."""
        return without_cudnn if pinned is not None and self.device.type == "cuda" else nullcontext()

    def _place(self, net: Net) -> Net:
        # Weights that are copied anyway are laid out anew; those used as they are stay mapped files, whose pages the
        # replicas of a machine share.
        first = next(net.parameters())
        copied = (first.device, first.dtype) != (self.device, self.dtype)
        net.to(self.device, self.dtype).eval().requires_grad_(False)
        return channels_last(net) if copied else net


def _noise(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal, float32, from a CPU generator of its own: equal on every device and in every batch."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))
