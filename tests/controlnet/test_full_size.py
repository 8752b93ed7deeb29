"""SD 1.5 at full size with random weights, from a file in the original's layout to diffusers' and back.

All of it at float32, 5.7 GB a copy: what is mapped stays what is mapped, and digests compare end to end.
Times are printed (`-s`), never asserted.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from controlnet.architecture import SD15
from controlnet.bundle import Bundle, ControlWeights, write_bundle
from controlnet.checkpoint import export_diffusers, import_checkpoint, import_diffusers, original
from controlnet.checkpoint.imports import Imported, blank
from controlnet.checkpoint.read import read_state
from controlnet.pipeline import Control, ImageSpec, Pipeline
from tests.controlnet.golden import layout
from tests.memory import Measured, anonymous, measured
from tests.networks import write_tokenizer

pytestmark = [pytest.mark.full_size, pytest.mark.timeout(1800)]

PARTS = ("unet", "control", "vae", "text")
GB = 1_000_000_000

Digests = Mapping[str, str]


def write_original(file: Path) -> None:
    """Random weights in the original's layout, written one at a time: nothing but the largest is ever in memory."""
    weights = original.merge({part: blank(part, SD15) for part in PARTS})
    tables = original.buffers(SD15.schedule, SD15.text.max_position_embeddings)
    header, end = {}, 0
    for key, tensor in (weights | tables).items():
        begin, end = end, end + tensor.nbytes
        kind = "F32" if tensor.is_floating_point() else "I64"
        header[key] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    names = json.dumps(header).encode()
    names += b" " * (-len(names) % 8)
    draw = torch.Generator().manual_seed(0)
    with file.open("wb") as stream:
        stream.write(len(names).to_bytes(8, "little") + names)
        for key, tensor in (weights | tables).items():
            # Small, and none zero: a ControlNet with zero convolutions would be no ControlNet.
            small = torch.empty(tensor.shape).normal_(float(tensor.dim() == 1), 0.02, generator=draw)
            stream.write((tables.get(key, small)).numpy().data)


def import_(file: Path, words: Path, folder: Path) -> None:
    model = import_checkpoint(file)
    write_bundle(
        folder,
        architecture=model.architecture,
        unet=model.unet,
        vae=model.vae,
        text=model.text,
        controls={"canny": ControlWeights(model.controls["control"], "canny", {})},
        tokenizer=words,
        name="sd15-random",
        version="1",
        native_size=(512, 512),
        licence="CC0-1.0",
        training_data="none: random numbers",
        metrics={},
        created=datetime(2026, 1, 1, tzinfo=UTC),
        dtype="float32",
    )


def export(bundle: Path, folder: Path) -> None:
    export_diffusers(Bundle.open(bundle), folder)


def parts_of(model: Imported) -> dict[str, Mapping[str, Tensor]]:
    [control] = model.controls.values()
    return {"unet": model.unet, "control": control, "vae": model.vae, "text": model.text}


def digests(parts: Mapping[str, Mapping[str, Tensor]]) -> Digests:
    """By part and key, of dtype, shape and bytes."""
    return {
        f"{part}.{key}": hashlib.sha256(
            f"{tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().data
        ).hexdigest()
        for part, state in parts.items()
        for key, tensor in state.items()
    }


def report(what: str, seconds: float, memory: int) -> None:
    print(f"\n{what}: {seconds:.1f} s, {memory / GB:.2f} GB of anonymous memory", end="")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sd15")
    yield folder
    shutil.rmtree(folder)  # 17 GB; pytest would keep the last three


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    begin = time.perf_counter()
    write_original(folder / "control_sd15.safetensors")
    report("written", time.perf_counter() - begin, anonymous())
    return folder / "control_sd15.safetensors"


@pytest.fixture(scope="module")
def imported(file: Path) -> Measured[None]:
    words = file.parent / "words"
    words.mkdir()
    write_tokenizer(words, SD15.text.vocab_size)
    return measured(import_, file, words, file.parent / "bundle")


@pytest.fixture(scope="module")
def opened(file: Path, imported: Measured[None]) -> tuple[Pipeline, int]:
    """And the anonymous memory that opening took."""
    before, begin = anonymous(), time.perf_counter()
    pipeline = Pipeline.load(file.parent / "bundle")
    grown = anonymous() - before
    report("opened", time.perf_counter() - begin, grown)
    return pipeline, grown


@pytest.fixture(scope="module")
def pipeline(opened: tuple[Pipeline, int]) -> Pipeline:
    return opened[0]


@pytest.fixture(scope="module")
def exported(file: Path, imported: Measured[None]) -> Measured[None]:
    return measured(export, file.parent / "bundle", file.parent / "diffusers")


def test_the_file_has_the_originals_names_and_shapes(file: Path) -> None:
    with safe_open(file, "pt") as held:
        found = {key: tuple(held.get_slice(key).get_shape()) for key in held.keys()}  # noqa: SIM118 - it is no dictionary
    assert found == layout.read(layout.FULL)


def test_importing_takes_at_most_8_gb(imported: Measured[None]) -> None:
    report("imported", imported.seconds, imported.peak)
    assert imported.peak <= 8 * GB


def test_a_bundle_is_mapped_and_not_copied(opened: tuple[Pipeline, int]) -> None:
    pipeline, grown = opened
    assert pipeline.nbytes > 5.7 * GB
    assert grown < pipeline.nbytes / 20


def test_a_step_at_512_pixels_moves_the_image_and_stays_finite(pipeline: Pipeline) -> None:
    hint = torch.rand(3, 512, 512, generator=torch.Generator().manual_seed(1))
    [state] = pipeline.encode([ImageSpec("a gear", 512, 512, steps=2, controls=(Control("canny", hint),))])
    begin = time.perf_counter()
    [stepped] = pipeline.step([state])
    report("stepped", time.perf_counter() - begin, anonymous())
    assert stepped.latent.isfinite().all()
    assert not torch.equal(stepped.latent, state.latent)


def test_the_control_is_connected(pipeline: Pipeline) -> None:
    hint = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    plain = ImageSpec("a gear", 64, 64, steps=2, guidance=1.0)
    steered = ImageSpec("a gear", 64, 64, steps=2, guidance=1.0, controls=(Control("canny", hint),))
    (without,), (with_control,) = (pipeline.step(pipeline.encode([spec])) for spec in (plain, steered))
    assert not torch.allclose(without.latent, with_control.latent, rtol=1e-3)


def test_it_decodes_to_a_picture(pipeline: Pipeline) -> None:
    assert pipeline.decode(pipeline.encode([ImageSpec("a gear", 64, 64)]))[0].shape == (64, 64, 3)


def test_it_takes_what_the_papers_model_takes(pipeline: Pipeline) -> None:
    counts = [sum(p.numel() for p in net.parameters()) for net in (pipeline.unet, pipeline.controls["canny"])]
    assert counts == [859_520_964, 361_279_120]


def test_exporting_takes_at_most_8_gb(exported: Measured[None]) -> None:
    report("exported", exported.seconds, exported.peak)
    assert exported.peak <= 8 * GB


def test_it_comes_back_from_diffusers_as_it_was_in_the_file(file: Path, exported: Measured[None]) -> None:
    begin = time.perf_counter()
    back = import_diffusers(file.parent / "diffusers")
    assert back.architecture == SD15
    known, strange = original.split(read_state(file))
    assert not strange
    assert digests(parts_of(back)) == digests(known)
    report("compared", time.perf_counter() - begin, anonymous())
