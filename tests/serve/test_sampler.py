"""The engine over real networks: what it makes of a crowd is what the plain loop makes of each alone."""

from __future__ import annotations

import gc
import queue
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from controlnet.generate import generate
from controlnet.pipeline import Control, ImageSpec, Pipeline
from serve.engine.core import Batch, Image, Key
from serve.engine.loop import Engine
from serve.engine.scheduler import Scheduler
from serve.sampler import PipelineModel, Shelf, warm
from tests.networks import tiny_pipeline

SIZE = 32
SPEC = ImageSpec("a gear", SIZE, SIZE, negative_prompt="rust", steps=4, guidance=3.0, seed=7)


class Results:
    """A listener that keeps pictures and errors by image id."""

    def __init__(self) -> None:
        self.ended: queue.Queue[tuple[str, object]] = queue.Queue()

    def started(self, image: Image) -> None: ...

    def stepped(self, image: Image, done: int, of: int) -> None: ...

    def finished(self, image: Image, result: object) -> None:
        self.ended.put((image.id, result))

    def failed(self, image: Image, error: Exception) -> None:
        self.ended.put((image.id, error))

    def cancelled(self, image: Image) -> None:
        self.ended.put((image.id, None))

    def take(self, count: int) -> dict[str, object]:
        return dict(self.ended.get(timeout=60) for _ in range(count))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny_pipeline(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def shelf(pipeline: Pipeline) -> Shelf:
    shelf = Shelf(1 << 30, lambda folder: pipeline)
    shelf.put("digest", Path())
    return shelf


def image(name: str, spec: ImageSpec, pinned: int | None = None) -> Image:
    key = Key(spec.height, spec.width, "digest", pinned)
    return Image(id=name, job="job", key=key, rows=spec.rows, steps=spec.steps, payload=spec)


def crowd() -> list[ImageSpec]:
    def hint(seed: int) -> torch.Tensor:
        return torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))

    return [
        SPEC,
        replace(SPEC, guidance=1.0, seed=1, steps=7),
        replace(SPEC, prompt="a nut", sampler="dpmpp_2m", steps=3, controls=(Control("canny", hint(1)),)),
        replace(SPEC, eta=0.7, controls=(Control("depth", hint(2), 0.5), Control("canny", hint(3), end=0.5))),
        replace(SPEC, sampler="euler", steps=6, controls=(Control("canny", hint(4), guess=True),)),
        replace(SPEC, height=48, seed=3),
    ]


def run(shelf: Shelf, images: list[Image]) -> dict[str, object]:
    engine = Engine(PipelineModel(shelf), Scheduler(max_rows=8))
    engine.start()
    try:
        results = Results()
        for one in images:
            engine.submit(one, results)
        return results.take(len(images))
    finally:
        engine.stop()


def test_a_crowd_gets_the_pictures_that_each_would_get_alone(shelf: Shelf, pipeline: Pipeline) -> None:
    specs = crowd()
    made = run(shelf, [image(str(i), spec) for i, spec in enumerate(specs)])
    for i, spec in enumerate(specs):
        difference = np.abs(np.asarray(made[str(i)], int) - generate(pipeline, [spec])[0].astype(int))
        assert difference.max() <= 1, f"image {i}"


def test_pinned_bytes_are_equal_in_any_company(shelf: Shelf, pipeline: Pipeline) -> None:
    specs = crowd()
    made = run(shelf, [image(str(i), spec, pinned=2) for i, spec in enumerate(specs)])
    for i, spec in enumerate(specs):
        assert np.array_equal(np.asarray(made[str(i)]), generate(pipeline, [spec], pinned=2)[0]), f"image {i}"


def test_an_image_the_networks_cannot_make_fails_alone(shelf: Shelf) -> None:
    bad = replace(SPEC, controls=(Control("canny", torch.zeros(3, 8, 8)),))
    made = run(shelf, [image("good", SPEC), image("bad", bad), image("fine", replace(SPEC, seed=9))])
    assert isinstance(made["bad"], ValueError)
    assert isinstance(made["good"], np.ndarray)
    assert isinstance(made["fine"], np.ndarray)


def test_warming_runs_every_network(pipeline: Pipeline) -> None:
    ran: list[str] = []
    nets = {"unet": pipeline.unet, "text": pipeline.text, **pipeline.controls}
    hooks = [net.register_forward_hook(lambda *_, name=name: ran.append(name)) for name, net in nets.items()]
    warm(pipeline, SIZE, SIZE, pinned=2)
    for hook in hooks:
        hook.remove()
    assert set(ran) == set(nets)


@pytest.mark.parametrize(("pinned", "expected"), [(4, [2, 4]), (2, [2])])
def test_warming_runs_in_the_pinned_bucket_and_in_one_that_is_not(
    pipeline: Pipeline, pinned: int, expected: list[int]
) -> None:
    rows: list[int] = []
    with pipeline.unet.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0]))):
        warm(pipeline, SIZE, SIZE, pinned=pinned)
    assert rows == expected


def test_the_shelf_drops_what_was_used_longest_ago(pipeline: Pipeline) -> None:
    loads: list[str] = []

    def load(folder: Path) -> Pipeline:
        loads.append(folder.name)
        return pipeline

    shelf = Shelf(2 * pipeline.nbytes, load)
    for name in ("a", "b"):
        shelf.put(name, Path(name))
    shelf.get("a")
    shelf.put("c", Path("c"))
    assert ("a" in shelf, "b" in shelf, "c" in shelf) == (True, False, True)
    assert loads == ["a", "b", "c"]


def test_a_bundle_that_left_the_shelf_is_there_for_who_holds_it(tmp_path: Path) -> None:
    shelf = Shelf(1, tiny_pipeline)
    held = shelf.put("a", tmp_path)
    shelf.put("b", tmp_path)
    assert "a" not in shelf
    assert shelf.get("a") is held
    assert shelf.put("a", tmp_path) is held
    shelf.put("b", tmp_path)
    del held
    gc.collect()
    with pytest.raises(KeyError):
        shelf.get("a")


def test_what_was_asked_for_last_stays_however_large(pipeline: Pipeline) -> None:
    shelf = Shelf(1, lambda folder: pipeline)
    shelf.put("large", Path())
    assert shelf.get("large") is pipeline


def test_a_bundle_on_the_shelf_is_not_loaded_again(pipeline: Pipeline) -> None:
    loads: list[Path] = []
    shelf = Shelf(1 << 30, lambda folder: loads.append(folder) or pipeline)
    shelf.put("a", Path())
    shelf.put("a", Path())
    assert len(loads) == 1


def test_a_preview_is_of_an_image_on_its_way(shelf: Shelf, pipeline: Pipeline) -> None:
    model = PipelineModel(shelf)
    one = image("one", SPEC)
    assert model.preview("one", 16) is None
    (started,) = model.start([one])
    (stepped,) = model.step(Batch(one.key, (one,), (started,), 2))
    alone = pipeline.preview(pipeline.step(pipeline.encode([SPEC]))[0], 16)
    assert np.array_equal(model.preview("one", 16), alone)
    del stepped
    assert model.preview("one", 16) is None
