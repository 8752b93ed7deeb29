"""The pictures that are measured: samples under several conditions, and the true ones through the autoencoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from controlnet.annotators import find
from controlnet.annotators.annotator import Picture
from controlnet.bundle import Bundle
from controlnet.evaluation.scenes import Case
from controlnet.generate import generate
from controlnet.pipeline import Control, ImageSpec, Pipeline
from controlnet.pixels import to_bytes, to_hint, to_tensor
from controlnet.vae import VAE

BATCH = 16
"""Images sampled together: with guidance, the rows of the largest bucket."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The model that is measured, and how it is asked.

    Attributes:
        pipeline: its networks.
        size: side of the pictures, pixels.
        thresholds: low and high of the canny maps that it gets and is held to.
        control: name of the control, whose annotator is canny.
        steps: of a sample.
        sampler: of a sample.
        model: name and version.
        digest: of the bundle, if it is one.
    """

    pipeline: Pipeline
    size: int
    thresholds: tuple[float, float]
    control: str = "canny"
    steps: int = 20
    sampler: str = "ddim"
    model: str = "a model in training"
    digest: str = ""

    @classmethod
    def of(cls, bundle: Bundle, control: str = "canny", device: str = "cpu") -> "Subject":
        """Load a bundle, to be asked as requests that say nothing else would ask it.

        Raises:
            ValueError: it has no such control, or one whose maps aren't canny edges; or its pictures aren't square.
        """
        manifest = bundle.manifest
        entry = manifest.controls.get(control)
        if entry is None or entry.annotator != "canny":
            maps = {name: entry.annotator for name, entry in manifest.controls.items()}
            raise ValueError(f"control {control!r} must be there and take canny maps; the bundle has {maps}")
        if manifest.native_size.width != manifest.native_size.height:
            raise ValueError(f"the renderer makes squares, the bundle {manifest.native_size}")
        return cls(
            Pipeline.load(bundle, device=device),
            manifest.native_size.width,
            (entry.parameters["low_threshold"], entry.parameters["high_threshold"]),
            control,
            manifest.defaults.steps,
            manifest.defaults.sampler,
            f"{manifest.name} {manifest.version}",
            bundle.digest,
        )

    def map_of(self, image: Picture) -> Picture:
        """The control map [H, W, 3] of a picture."""
        low, high = self.thresholds
        return find("canny")(image, {"low_threshold": low, "high_threshold": high})

    def spec(
        self, prompt: str, control_map: Picture | None, guidance: float, seed: int, size: tuple[int, int] | None = None
    ) -> ImageSpec:
        """One image to sample, at a (height, width) or the native one; the map, if any, has that size too."""
        height, width = size or (self.size, self.size)
        controls = () if control_map is None else (Control(self.control, to_hint(control_map)),)
        return ImageSpec(
            prompt,
            width,
            height,
            steps=self.steps,
            guidance=guidance,
            seed=seed,
            sampler=self.sampler,
            controls=controls,
        )


@dataclass(frozen=True)
class Condition:
    """How samples are made.

    Attributes:
        title: for people.
        guidance: classifier-free guidance; 1 is none.
        map: whose map steers: the scene's own, that of the next scene, or none.
    """

    title: str
    guidance: float
    map: Literal["own", "next", "none"]


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        "control_g1": Condition("prompt and map, guidance 1", 1.0, "own"),
        "control_g3": Condition("prompt and map, guidance 3", 3.0, "own"),
        "shuffled_g3": Condition("prompt and the next scene's map, guidance 3", 3.0, "next"),
        "no_control_g1": Condition("prompt alone, guidance 1", 1.0, "none"),
        "no_control_g3": Condition("prompt alone, guidance 3", 3.0, "none"),
    }
)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Scenes and what was made of them.

    Attributes:
        cases: the scenes.
        maps: their canny maps, [H, W, 3].
        pictures: one a case, by condition; `real` and `vae` are the true pictures, and these through the autoencoder.
    """

    cases: Sequence[Case]
    maps: Sequence[Picture]
    pictures: Mapping[str, Sequence[Picture]]


def sample(subject: Subject, specs: Sequence[ImageSpec], title: str) -> list[Picture]:
    """Sample images of one size, 16 at a time, with a progress bar."""
    made: list[Picture] = []
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as progress:
        task = progress.add_task(title, total=len(specs))
        for start in range(0, len(specs), BATCH):
            made += generate(subject.pipeline, specs[start : start + BATCH])
            progress.update(task, completed=len(made))
    return made


@torch.inference_mode()
def reconstruct(vae: VAE, images: Sequence[Picture], batch: int = 8) -> list[Picture]:
    """Return what the autoencoder makes of pictures [H, W, 3]: the best that any sample can look like."""
    weight = next(vae.parameters())
    made: list[Picture] = []
    for start in range(0, len(images), batch):
        true = torch.stack([to_tensor(image) for image in images[start : start + batch]])
        made += to_bytes(vae.decode(vae.encode(true.to(weight.device, weight.dtype)).mode()))
    return made


def draw(subject: Subject, cases: Sequence[Case]) -> Drawn:
    """Have every case drawn under every condition; a case's noise is the same under all of them."""
    maps = [subject.map_of(case.image) for case in cases]
    steering: dict[str, list[Picture] | list[None]] = {
        "own": maps,
        "next": [*maps[1:], maps[0]],
        "none": [None] * len(cases),
    }
    real = [case.image for case in cases]
    pictures = {"real": real, "vae": reconstruct(subject.pipeline.vae, real)}
    for name, condition in CONDITIONS.items():
        specs = [
            subject.spec(case.prompt, control_map, condition.guidance, case.seed)
            for case, control_map in zip(cases, steering[condition.map], strict=True)
        ]
        pictures[name] = sample(subject, specs, condition.title)
    return Drawn(cases, maps, pictures)
