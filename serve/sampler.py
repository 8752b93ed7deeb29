"""The engine's model: `controlnet.pipeline` behind three verbs, and the bundles a sampler keeps loaded.

The engine counts rows and never looks inside a payload; here a payload is a `controlnet.pipeline.ImageSpec`. A bundle
that leaves the shelf still makes the images of whoever holds its pipeline.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import torch

from controlnet.pipeline import Control, ImageSpec, ImageState, Pipeline
from controlnet.spinning import Spinning
from serve.engine.core import Batch, Image, Key


class Shelf:
    """Loaded pipelines by digest, least recently used out first, bounded in bytes.

    Args:
        capacity: Bytes of weights to keep; the pipeline asked for last stays, however large.
        load: Opens the bundle in a folder, and proves that it works.
    """

    def __init__(self, capacity: int, load: Callable[[Path], Pipeline]) -> None:
        self.capacity = capacity
        self._load = load
        self._pipelines: OrderedDict[str, Pipeline] = OrderedDict()
        self._alive: WeakValueDictionary[str, Pipeline] = WeakValueDictionary()  # those that jobs hold, too
        self._lock = threading.Lock()  # the engine reads from its thread while a bundle is loaded in another

    def __contains__(self, digest: str) -> bool:
        with self._lock:
            return digest in self._pipelines

    @property
    def digests(self) -> list[str]:
        """Of what is on it."""
        with self._lock:
            return list(self._pipelines)

    def put(self, digest: str, folder: Path) -> Pipeline:
        """The pipeline of `digest`, loaded from `folder` unless it is in use."""
        with self._lock:
            pipeline = self._alive.get(digest)
        if pipeline is None:
            pipeline = self._load(folder)  # seconds: not under the lock
        with self._lock:
            self._pipelines[digest] = self._alive[digest] = pipeline
            self._pipelines.move_to_end(digest)
            while len(self._pipelines) > 1 and sum(p.nbytes for p in self._pipelines.values()) > self.capacity:
                self._pipelines.popitem(last=False)
        return pipeline

    def get(self, digest: str) -> Pipeline:
        """The pipeline of `digest`.

        Raises:
            KeyError: It is not on the shelf, and nobody holds it; `put` it first.
        """
        with self._lock:
            if digest in self._pipelines:
                self._pipelines.move_to_end(digest)
            return self._alive[digest]


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Running:
    """What the engine carries from step to step for one image."""

    pipeline: Pipeline
    image: ImageState


class PipelineModel:
    """`serve.engine.core.Model` over the pipelines of a shelf.

    Args:
        shelf: Has the pipelines of every image.
        encoded: Told the seconds of each `start`.
        decoded: Told the seconds of each `finish`.
        clock: Seconds that only grow.
        spinning: Told of each step on a CPU.
    """

    def __init__(
        self,
        shelf: Shelf,
        encoded: Callable[[float], object] = lambda seconds: None,
        decoded: Callable[[float], object] = lambda seconds: None,
        clock: Callable[[], float] = time.monotonic,
        spinning: Spinning | None = None,
    ) -> None:
        self.shelf = shelf
        self._spinning = spinning or Spinning()
        self._encoded, self._decoded, self._clock = encoded, decoded, clock
        # By image id. Weak: what the engine drops, because it is finished or cancelled, is gone from here too.
        self._latest: WeakValueDictionary[str, Running] = WeakValueDictionary()

    def start(self, images: Sequence[Image]) -> list[object]:
        """Encode prompts and hints, draw noise; images of one key share the encoders' batches."""
        began = self._clock()
        by_key: dict[Key, list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            by_key[image.key].append(i)
        states: dict[int, object] = {}
        for key, members in by_key.items():
            pipeline = self.shelf.get(key.digest)
            encoded = pipeline.encode([spec_of(images[i]) for i in members], key.pinned)
            states |= {i: Running(pipeline, state) for i, state in zip(members, encoded, strict=True)}
        self._encoded(self._clock() - began)
        return [states[i] for i in range(len(images))]

    def step(self, batch: Batch) -> list[object]:
        """One UNet batch: every image one step on."""
        running = [_running(state) for state in batch.states]
        pipeline = running[0].pipeline
        stepped = pipeline.step([r.image for r in running], batch.key.pinned)
        if pipeline.device.type == "cpu":
            self._spinning.look()
        states = [Running(pipeline, state) for state in stepped]
        self._latest.update({image.id: state for image, state in zip(batch.images, states, strict=True)})
        return list(states)

    def finish(self, key: Key, states: Sequence[object]) -> list[object]:
        """Finished latents to uint8 [H, W, 3] pictures."""
        began = self._clock()
        running = [_running(state) for state in states]
        pictures: list[object] = list(running[0].pipeline.decode([r.image for r in running], key.pinned))
        self._decoded(self._clock() - began)
        return pictures

    def preview(self, image_id: str, side: int) -> npt.NDArray[np.uint8] | None:
        """What an image is about to be, uint8 [h, w, 3]; none while it has had no step. From any thread."""
        running = self._latest.get(image_id)
        return None if running is None else running.pipeline.preview(running.image, side)


def warm(pipeline: Pipeline, width: int, height: int, pinned: int) -> None:
    """Run every network once in each way, at the size it will be asked for most: no request pays for the first time.

    The first call of a shape is when libraries are loaded, kernels are chosen and memory is grown. On a GPU a pinned
    batch has other kernels than one of its shape that is not (`controlnet.determinism`); on a CPU once is enough.
    """
    hint = torch.zeros(3, height, width)
    controls = tuple(Control(name, hint) for name in pipeline.controls)
    spec = ImageSpec("", width=width, height=height, steps=1, guidance=2.0, controls=controls)
    alike = pinned == spec.rows and pipeline.device.type != "cuda"
    for bucket in (pinned,) if alike else (None, pinned):
        pipeline.decode(pipeline.step(pipeline.encode([spec], bucket), bucket), bucket)


def spec_of(image: Image) -> ImageSpec:
    """What the engine's image is to show."""
    assert isinstance(image.payload, ImageSpec)
    return image.payload


def _running(state: object) -> Running:
    assert isinstance(state, Running)
    return state
