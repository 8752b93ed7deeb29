"""Write and read a rendered data set: memory-mapped arrays beside JSON.

A folder holds ``images.npy`` [N, S, S, 3], ``materials.npy`` and ``depth.npy`` [N, S, S],
``segmentation.npy`` [N, S, S, 3] (all uint8), ``captions.json`` (a list of captions for each image)
and ``meta.json``.
"""

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count as counter
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import track

from controlnet.parts.render import Rendering, render
from controlnet.parts.scene import caption, held_out, sample_scene

Split = Literal["train", "held_out"]
Bytes = npt.NDArray[np.uint8]

CAPTIONS = 4
"""Captions written for each image."""


@dataclass(frozen=True)
class PartsDataset:
    """A data set on disk; arrays are memory maps, read only.

    Attributes:
        images: [N, S, S, 3] RGB.
        materials: [N, S, S] 0 on the bench, else 1 + index in ``MATERIALS``.
        depth: [N, S, S] near is white.
        segmentation: [N, S, S, 3] colours of ``PALETTE``.
        captions: several captions for each image.
        seeds: the seed of each scene: ``sample_scene(seed)`` gives it back.
    """

    images: Bytes
    materials: Bytes
    depth: Bytes
    segmentation: Bytes
    captions: tuple[tuple[str, ...], ...]
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.seeds)


def split_seeds(count: int, seed: int, split: Split) -> list[int]:
    """Return the first ``count`` scene seeds from ``seed`` on that belong to a split."""
    wanted = split == "held_out"
    return list(islice((s for s in counter(seed) if held_out(sample_scene(s)) == wanted), count))


def captions_of(seed: int) -> list[str]:
    """Return the captions of the scene with this seed; the wording depends on the seed alone."""
    scene, rng = sample_scene(seed), np.random.default_rng((seed, 3))
    return [caption(scene, rng) for _ in range(CAPTIONS)]


def _one_thread() -> None:
    # The pool already fills the cores; threads inside each worker only get in each other's way.
    cv2.setNumThreads(1)


def _rendered(job: tuple[int, int]) -> Rendering:
    seed, size = job
    return render(sample_scene(seed), size)


def rendered(seeds: Sequence[int], size: int, workers: int = 1) -> Iterator[Rendering]:
    """Render scenes in order, in this process or with a pool of several."""
    jobs = [(seed, size) for seed in seeds]
    if workers == 1:
        yield from map(_rendered, jobs)
        return
    # Forking a process whose OpenCV or torch threads hold a lock can hang the child.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_one_thread) as pool:
        yield from pool.map(_rendered, jobs, chunksize=16)


def write_dataset(
    folder: Path,
    count: int,
    seed: int = 0,
    size: int = 128,
    workers: int = 2,
    split: Split = "train",
) -> None:
    """Render a data set with a pool of processes.

    Args:
        folder: where to write; made if missing, files in it are overwritten.
        count: number of images.
        seed: first scene seed; seeds of the other split are skipped.
        size: side of an image in pixels.
        workers: number of processes.
        split: "train", or "held_out" for combinations that training never sees.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seeds = split_seeds(count, seed, split)
    images, materials, depth, segmentation = (
        np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=(count, size, size, *channels)
        )
        for name, channels in (
            ("images", (3,)),
            ("materials", ()),
            ("depth", ()),
            ("segmentation", (3,)),
        )
    )
    for row, rendering in enumerate(track(rendered(seeds, size, workers), "Rendering parts", total=count)):
        images[row] = rendering.image
        materials[row] = rendering.materials
        depth[row] = rendering.depth
        segmentation[row] = rendering.segmentation
    for array in (images, materials, depth, segmentation):
        array.flush()
    (folder / "captions.json").write_text(json.dumps([captions_of(s) for s in seeds]))
    flags = [split == "held_out"] * count
    meta = {"size": size, "split": split, "seeds": seeds, "held_out": flags}
    (folder / "meta.json").write_text(json.dumps(meta))


def read_dataset(folder: Path) -> PartsDataset:
    """Open a data set written by ``write_dataset``."""
    folder = Path(folder)

    def load(name: str) -> Bytes:
        array: Bytes = np.load(folder / f"{name}.npy", mmap_mode="r")
        return array

    captions = json.loads((folder / "captions.json").read_text())
    meta = json.loads((folder / "meta.json").read_text())
    return PartsDataset(
        images=load("images"),
        materials=load("materials"),
        depth=load("depth"),
        segmentation=load("segmentation"),
        captions=tuple(tuple(of_image) for of_image in captions),
        seeds=tuple(meta["seeds"]),
    )
