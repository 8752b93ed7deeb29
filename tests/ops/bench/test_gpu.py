"""The GPU benchmark's engine at a small size on a CPU, and that its gate can close."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import pytest
import torch

from ops.bench.gpu import naive
from ops.bench.gpu.__main__ import main
from ops.bench.gpu.checks import Parity, batched, compare, independent, predictions, steer
from ops.bench.gpu.engine import Engine, Way
from ops.bench.gpu.networks import CONTROLS, SIZES, Image, Images, Networks

SIZE = SIZES["small"]
ROWS = SIZE.largest


def test_a_gpu_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit):
        main(["--size", "small"])
    assert "no CUDA device here; --device cpu --size small" in capsys.readouterr().err


@pytest.mark.gpu
def test_on_a_gpu_graphs_lanes_and_compiled_code_answer_as_the_reference_does(tmp_path: Path) -> None:
    assert main(["--device", "cuda", "--size", "small", "--out", str(tmp_path)]) == 0


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks.random(SIZE.architecture, torch.device("cpu"))


@pytest.fixture(scope="module")
def images() -> Images:
    return Images(SIZE, torch.device("cpu"), torch.float32)


def engine_of(networks: Networks, way: Way) -> Engine:
    engine = Engine(networks, SIZE, way)
    for rows in SIZE.buckets:
        engine.prepare(rows, controls=CONTROLS, compiled=False)
    engine.prepare_decoder(compiled=False)
    return engine


@pytest.fixture(scope="module")
def engine(networks: Networks) -> Engine:
    return engine_of(networks, Way("eager"))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a.int() - b.int()).abs().max() <= 1)


def test_the_engine_makes_the_references_pictures_of_a_mixture(
    engine: Engine, networks: Networks, images: Images
) -> None:
    mixed = list(islice(images.mixed(), 24))
    run = engine.run(ROWS, cycle(mixed), 24, decode=True, stagger=False)
    expected = [naive.make(networks, image) for image in mixed]
    assert len(run.pictures) > ROWS // 2
    assert all(sum(close(picture, other) for other in expected) == 1 for picture in run.pictures)


def test_windows_spare_the_controls(engine: Engine, images: Images) -> None:
    def halves() -> Iterator[Image]:
        return (replace(image, window=(0.0, 0.5)) for image in images.alike())

    assert engine.run(ROWS, halves(), 2 * SIZE.steps).control_steps == ROWS // 2 * SIZE.steps


def test_several_controls_add_up(engine: Engine, networks: Networks, images: Images) -> None:
    asked = list(islice(images.alike((0, 1, 2)), ROWS // 2))
    found = compare("", batched(engine, ROWS, asked), predictions(networks, asked))
    assert found.error < 1e-4


def test_bits_do_not_depend_on_neighbours(engine: Engine, images: Images) -> None:
    assert independent(engine, ROWS, list(islice(images.alike(), 6))) == (True, True)


def test_a_neighbour_that_leaks_is_noticed(networks: Networks, images: Images) -> None:
    leaking = engine_of(networks, Way("leaking"))
    bucket = leaking.buckets[ROWS]
    ascend = bucket.ascend

    def leak() -> None:
        ascend()
        bucket.latents.add_(1e-6 * bucket.latents.mean(dim=0))

    bucket.ascend = leak  # type: ignore[method-assign]
    assert independent(leaking, ROWS, list(islice(images.alike(), 6))) == (False, False)


def test_a_disconnected_control_is_noticed(images: Images) -> None:
    networks = Networks.random(SIZE.architecture, torch.device("cpu"))
    some = list(islice(images.alike(), 2))
    assert steer(networks, some) > 0.01
    for outlet in [*networks.controls[0].zero_convs, networks.controls[0].middle_block_out]:
        for weight in outlet.parameters():
            weight.zero_()
    assert steer(networks, some) == 0.0


@pytest.mark.parametrize("wrong", [{"error": 0.2}, {"cosine": 0.9}, {"finite": False}])
def test_predictions_that_are_further_off_than_the_references_are_noticed(wrong: dict[str, float]) -> None:
    reference = Parity("reference", 0.02, 0.9998, True)
    assert reference.within(reference)
    assert not replace(reference, **wrong).within(reference)
