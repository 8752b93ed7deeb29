"""What the library promises on a CPU, on a CUDA device: `make test-gpu`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from controlnet.generate import generate
from controlnet.pipeline import Control, ImageSpec, Pipeline
from ops.bench.served import full
from tests.networks import tiny_pipeline

pytestmark = pytest.mark.gpu

SPEC = ImageSpec("a gear", 32, 32, negative_prompt="rust", steps=4, guidance=3.0, seed=7)


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, Pipeline]:
    if not torch.cuda.is_available():
        pytest.fail("no CUDA device here: these tests need one")
    on_cpu = tiny_pipeline(tmp_path_factory.mktemp("tokenizer"))
    again = tiny_pipeline(tmp_path_factory.mktemp("again"))
    on_gpu = Pipeline(
        again.architecture,
        unet=again.unet,
        vae=again.vae,
        text=again.text,
        tokenizer=again.tokenizer,
        controls=again.controls,
        device="cuda",
    )
    return on_cpu, on_gpu


def specs() -> list[ImageSpec]:
    hint = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))
    return [SPEC, replace(SPEC, seed=8, controls=(Control("canny", hint),)), replace(SPEC, guidance=1.0, seed=9)]


def test_a_gpu_makes_the_cpus_pictures(pipelines: tuple[Pipeline, Pipeline]) -> None:
    on_cpu, on_gpu = (np.stack(generate(pipeline, specs())).astype(int) for pipeline in pipelines)
    assert np.abs(on_cpu - on_gpu).max() <= 2


def test_pinned_bytes_do_not_depend_on_neighbours(pipelines: tuple[Pipeline, Pipeline]) -> None:
    alone = [generate(pipelines[1], [spec], pinned=8)[0] for spec in specs()]
    together = generate(pipelines[1], specs(), pinned=8)
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_pinned_bytes_are_the_same_in_any_slot_of_a_large_network() -> None:
    """Tiny networks have no convolution for which cuDNN chooses a kernel whose sums depend on the slot."""
    pipeline = full(torch.device("cuda"), torch.float16)
    hint = torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(1))
    control = Control("canny", hint)
    large = [replace(SPEC, width=256, height=256, steps=2, seed=seed, controls=(control,)) for seed in range(4)]
    there, back = generate(pipeline, large, pinned=8), generate(pipeline, large[::-1], pinned=8)[::-1]
    alone = [generate(pipeline, [spec], pinned=8)[0] for spec in large]
    assert all(np.array_equal(a, b) and np.array_equal(a, c) for a, b, c in zip(there, back, alone, strict=True))
