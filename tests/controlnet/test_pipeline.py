from __future__ import annotations

import copy
import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from controlnet.bundle import Bundle, write_bundle
from controlnet.finite import NotFinite
from controlnet.generate import generate
from controlnet.pipeline import BUCKETS, LARGEST_SEED, Control, ImageSpec, ImageState, Pipeline, bucket_for
from controlnet.strict import CheckpointError
from tests.networks import TINY, write_tokenizer

SIZE = 32
SPEC = ImageSpec("a gear", SIZE, SIZE, negative_prompt="rust", steps=4, guidance=3.0, seed=7)


def hint(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def latents(pipeline: Pipeline, specs: list[ImageSpec], steps: int | None = None) -> list[torch.Tensor]:
    states = pipeline.encode(specs)
    for _ in range(steps or specs[0].steps):
        states = pipeline.step(states)
    return [state.latent for state in states]


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


MIXED = [
    SPEC,
    replace(SPEC, guidance=1.0, seed=1),
    replace(SPEC, prompt="a nut", sampler="dpmpp_2m", controls=(Control("canny", hint(1)),)),
    replace(SPEC, guidance=5.0, eta=0.7, controls=(Control("depth", hint(2), 0.5), Control("canny", hint(3), end=0.5))),
    replace(SPEC, sampler="euler", controls=(Control("canny", hint(4), guess=True, start=0.25),)),
]


def test_a_mixed_batch_equals_one_at_a_time(pipeline: Pipeline) -> None:
    together = latents(pipeline, MIXED)
    alone = [latents(pipeline, [spec])[0] for spec in MIXED]
    assert max(apart(a, b) for a, b in zip(together, alone, strict=True)) < 1e-4


def test_images_join_and_leave_between_steps(pipeline: Pipeline) -> None:
    early, late = pipeline.encode([MIXED[2], MIXED[3]])
    (early,) = pipeline.step([early])
    early, late = pipeline.step([early, late])
    early, late = pipeline.step([early, late])
    (early,) = pipeline.step([early])
    for _ in range(2):
        (late,) = pipeline.step([late])
    assert early.done
    assert late.done
    assert apart(early.latent, latents(pipeline, [MIXED[2]])[0]) < 1e-4
    assert apart(late.latent, latents(pipeline, [MIXED[3]])[0]) < 1e-4


def test_in_a_pinned_bucket_bytes_do_not_depend_on_neighbours(pipeline: Pipeline) -> None:
    alone = [generate(pipeline, [spec], pinned=8)[0] for spec in MIXED]
    pairs = [generate(pipeline, [MIXED[4], spec, MIXED[0]], pinned=8)[1] for spec in MIXED]
    assert all(np.array_equal(a, b) for a, b in zip(alone, pairs, strict=True))


def test_a_pinned_bucket_is_never_outgrown(pipeline: Pipeline) -> None:
    with pytest.raises(ValueError, match="4 rows do not fit the pinned bucket 2"):
        pipeline.step(pipeline.encode([SPEC, SPEC]), pinned=2)


def test_no_unconditional_row_at_guidance_one(pipeline: Pipeline, rows_seen: list[int]) -> None:
    pipeline.step(pipeline.encode([replace(SPEC, guidance=1.0)] * 2))
    pipeline.step(pipeline.encode([SPEC] * 2))
    assert rows_seen == [2, 4]


@pytest.fixture
def rows_seen(pipeline: Pipeline) -> list[int]:
    seen: list[int] = []
    hook = pipeline.unet.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    yield seen
    hook.remove()


def test_strength_zero_is_no_control(pipeline: Pipeline) -> None:
    (off,) = latents(pipeline, [replace(SPEC, controls=(Control("canny", hint(), strength=0.0),))])
    assert torch.equal(off, latents(pipeline, [SPEC])[0])


def test_a_control_changes_the_picture(pipeline: Pipeline) -> None:
    (on,) = latents(pipeline, [replace(SPEC, controls=(Control("canny", hint()),))])
    assert apart(on, latents(pipeline, [SPEC])[0]) > 1e-3


def test_the_hint_changes_the_picture(pipeline: Pipeline) -> None:
    a, b = (latents(pipeline, [replace(SPEC, controls=(Control("canny", hint(seed)),))])[0] for seed in (0, 1))
    assert apart(a, b) > 1e-4


@pytest.mark.parametrize(
    ("start", "end", "acting"), [(0, 1, [0, 1, 2, 3]), (0.5, 1, [2, 3]), (0, 0.5, [0, 1]), (0.3, 0.8, [2])]
)
def test_a_control_runs_only_inside_its_window(start: float, end: float, acting: list[int]) -> None:
    control = Control("canny", hint(), start=start, end=end)
    assert [k for k in range(4) if control.acts(k, 4)] == acting


def test_outside_its_window_a_control_is_not_run(pipeline: Pipeline, control_rows: list[int]) -> None:
    windows = [Control("canny", hint(), end=0.5), Control("canny", hint())]
    latents(pipeline, [replace(SPEC, guidance=1.0, controls=(control,)) for control in windows])
    assert control_rows == [2, 2, 1, 1]


def test_guess_mode_leaves_the_unconditional_row_without_control(pipeline: Pipeline, control_rows: list[int]) -> None:
    pipeline.step(pipeline.encode([replace(SPEC, controls=(Control("canny", hint(), guess=True),))]))
    pipeline.step(pipeline.encode([replace(SPEC, controls=(Control("canny", hint()),))]))
    assert control_rows == [1, 2]


@pytest.fixture
def control_rows(pipeline: Pipeline) -> list[int]:
    seen: list[int] = []
    hook = pipeline.controls["canny"].register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    yield seen
    hook.remove()


def test_guess_mode_softens_shallow_residuals() -> None:
    weights = Control("canny", hint(), strength=2.0, guess=True).weights(13)
    assert weights[12] == 2.0
    assert weights[0] == pytest.approx(2.0 * 0.825**12)


def test_scales_weigh_each_residual() -> None:
    assert Control("canny", hint(), strength=0.5, scales=(1.0, 0.0, 4.0)).weights(3) == [0.5, 0.0, 2.0]


def test_scales_of_another_count_are_refused() -> None:
    with pytest.raises(ValueError, match="'canny' has 2 scales, its network 13 residuals"):
        Control("canny", hint(), scales=(1.0, 1.0)).weights(13)


def test_a_control_used_twice_adds_up(pipeline: Pipeline) -> None:
    once = replace(SPEC, controls=(Control("canny", hint(), strength=1.0),))
    twice = replace(SPEC, controls=(Control("canny", hint(), strength=0.5),) * 2)
    assert apart(latents(pipeline, [twice])[0], latents(pipeline, [once])[0]) < 1e-5


def test_more_controls_than_the_largest_bucket(pipeline: Pipeline) -> None:
    many = replace(SPEC, steps=1, controls=(Control("canny", hint(), strength=1 / 3),) * 3)
    one = replace(SPEC, steps=1, controls=(Control("canny", hint()),))
    together = latents(pipeline, [many] * 16)
    assert apart(together[15], latents(pipeline, [one])[0]) < 1e-4


def test_a_step_leaves_its_states_as_they_were(pipeline: Pipeline) -> None:
    states = pipeline.encode(MIXED)
    before = [(state.index, state.latent.clone()) for state in states]
    first = pipeline.step(states)
    again = pipeline.step(states)
    assert all(s.index == i and torch.equal(s.latent, x) for s, (i, x) in zip(states, before, strict=True))
    assert all(torch.equal(a.latent, b.latent) for a, b in zip(first, again, strict=True))


@pytest.fixture
def texts_seen(pipeline: Pipeline) -> list[int]:
    seen: list[int] = []
    hook = pipeline.text.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    yield seen
    hook.remove()


def test_each_text_is_encoded_once(pipeline: Pipeline, texts_seen: list[int]) -> None:
    spec = replace(SPEC, prompt="a screw", negative_prompt="dust")
    pipeline.encode([spec, replace(spec, seed=8), replace(spec, seed=9, guidance=1.0)])
    pipeline.encode([replace(spec, prompt="a bolt")])
    assert texts_seen == [2, 1]


def test_a_pinned_text_is_encoded_in_its_bucket(pipeline: Pipeline, texts_seen: list[int]) -> None:
    spec = replace(SPEC, prompt="a spring", guidance=1.0)
    pipeline.encode([spec])
    pipeline.encode([spec], pinned=4)
    assert texts_seen == [1, 4]


def test_pinned_texts_do_not_share_a_batch(pipeline: Pipeline, texts_seen: list[int]) -> None:
    pipeline.encode([replace(SPEC, prompt="a shelf", negative_prompt="a rail", guidance=3.0)], pinned=4)
    assert texts_seen == [4, 4]


def test_texts_used_longest_ago_are_forgotten(pipeline: Pipeline, texts_seen: list[int], monkeypatch) -> None:
    monkeypatch.setattr("controlnet.pipeline.TEXTS_KEPT", 2)
    for prompt in ("old", "a", "old", "b", "old", "a"):
        pipeline.encode([replace(SPEC, prompt=prompt, guidance=1.0)])
    assert len(texts_seen) == 4  # old, a, b, and a again


def test_images_that_share_a_hint_share_its_embedding(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    net = pipeline.controls["canny"]
    embed = net.embed
    monkeypatch.setattr(net, "embed", lambda hints: calls.append(len(hints)) or embed(hints))
    shared = Control("canny", hint())
    first = pipeline.encode([replace(SPEC, controls=(shared,)), replace(SPEC, seed=2, controls=(shared,))])
    pipeline.encode([replace(SPEC, seed=3, controls=(Control("canny", shared.hint, strength=0.5),))])
    assert calls == [1]
    assert torch.equal(first[0].hints[0], first[1].hints[0])


def test_noise_is_a_function_of_the_seed_alone(pipeline: Pipeline) -> None:
    torch.manual_seed(123)
    a = pipeline.encode([SPEC])[0].latent
    torch.manual_seed(456)
    b = pipeline.encode([replace(SPEC, seed=1), SPEC])[1].latent
    assert torch.equal(a, b)


def test_seeds_differ(pipeline: Pipeline) -> None:
    a, b = pipeline.encode([SPEC, replace(SPEC, seed=8)])
    assert apart(a.latent, b.latent) > 0.1


def test_pictures_are_uint8_rgb_of_the_size_asked(pipeline: Pipeline) -> None:
    (picture,) = generate(pipeline, [replace(SPEC, width=48)])
    assert picture.shape == (32, 48, 3)
    assert picture.dtype == np.uint8


def test_more_pictures_than_the_largest_bucket(pipeline: Pipeline) -> None:
    specs = [replace(SPEC, guidance=1.0, steps=1, seed=seed) for seed in range(BUCKETS[-1] + 1)]
    pictures = generate(pipeline, specs)
    assert len(pictures) == len(specs)
    assert np.abs(pictures[-1].astype(int) - generate(pipeline, specs[-1:])[0]).max() <= 1


def test_no_specs_are_no_pictures(pipeline: Pipeline) -> None:
    assert generate(pipeline, []) == []


def test_a_pinned_bucket_of_one_row_makes_pictures_without_guidance(pipeline: Pipeline) -> None:
    assert len(generate(pipeline, [replace(SPEC, guidance=1.0, steps=1)] * 2, pinned=1)) == 2


@pytest.mark.parametrize(
    ("specs", "pinned", "message"),
    [
        ([SPEC], 1, "pinned is 1: an image takes 2 rows"),
        ([SPEC], 0, "pinned is 0: an image takes 2 rows"),
        ([SPEC, replace(SPEC, width=48)], None, "specs have sizes 32x32, 48x32: generate makes one size at a time"),
    ],
)
def test_what_the_plain_loop_cannot_make_is_refused(
    pipeline: Pipeline, specs: list[ImageSpec], pinned: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        generate(pipeline, specs, pinned=pinned)


@pytest.mark.parametrize(("side", "shape"), [(16, (16, 16, 3)), (8, (8, 8, 3)), (1, (4, 4, 3)), (1000, (32, 32, 3))])
def test_a_preview_is_as_small_as_asked(pipeline: Pipeline, side: int, shape: tuple[int, ...]) -> None:
    assert pipeline.preview(pipeline.step(pipeline.encode([SPEC]))[0], side).shape == shape


def test_a_preview_of_full_size_is_the_estimate_decoded(pipeline: Pipeline) -> None:
    (state,) = pipeline.step(pipeline.encode([SPEC]))
    (estimate,) = pipeline.decode([replace(state, latent=state.previous_x0)])
    assert np.array_equal(pipeline.preview(state, 10_000), estimate)


def test_generate_reports_steps(pipeline: Pipeline) -> None:
    told: list[tuple[int, int]] = []
    generate(pipeline, [SPEC, replace(SPEC, steps=2)], on_step=lambda done, of: told.append((done, of)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(SPEC, width=30), "size 30x32 is not a positive multiple of 8"),
        (replace(SPEC, sampler="magic"), "sampler 'magic' is not one of"),
        (replace(SPEC, sampler="euler", eta=0.5), "'euler' has no eta"),
        (replace(SPEC, controls=(Control("pose", hint()),)), "control 'pose' is not one of .'canny', 'depth'"),
        (replace(SPEC, controls=(Control("canny", hint()[:, :8]),)), r"hint of control 'canny' is \(3, 8, 32\)"),
        (replace(SPEC, controls=(Control("canny", hint()[:1]),)), r"\(1, 32, 32\), not \(3, 32, 32\)"),
        (replace(SPEC, controls=(Control("canny", hint().byte()),)), r"'canny' is torch.uint8: give floating point"),
        (replace(SPEC, controls=(Control("canny", hint(), scales=(1.0,)),)), "has 1 scales, its network 5 residuals"),
        (replace(SPEC, seed=-1), r"seed -1 is not in 0\.\.18446744073709551615"),
        (replace(SPEC, seed=2**64), r"seed 18446744073709551616 is not in"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(pipeline: Pipeline, spec: ImageSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline.encode([spec])


def test_the_largest_seed_is_taken(pipeline: Pipeline) -> None:
    pipeline.step(pipeline.encode([replace(SPEC, seed=LARGEST_SEED, eta=1.0)]))


def test_a_hint_has_the_channels_of_its_architecture(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    control = replace(pipeline.architecture.control, conditioning_channels=1)
    monkeypatch.setattr(pipeline, "architecture", replace(pipeline.architecture, control=control))
    with pytest.raises(ValueError, match=r"\(3, 32, 32\), not \(1, 32, 32\)"):
        pipeline.encode([replace(SPEC, controls=(Control("canny", hint()),))])


@pytest.mark.parametrize(("count", "bucket"), [(1, 1), (2, 2), (3, 4), (9, 16), (32, 32)])
def test_buckets(count: int, bucket: int) -> None:
    assert bucket_for(count) == bucket


def test_no_bucket_for_too_many_rows() -> None:
    with pytest.raises(ValueError, match="33 rows do not fit the largest bucket 32"):
        bucket_for(33)


def test_states_compare_by_identity(pipeline: Pipeline) -> None:
    a, b = pipeline.encode([SPEC, SPEC])
    assert isinstance(a, ImageState)
    assert a != b


@pytest.fixture(scope="module")
def bundle(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "words").mkdir()
    return write_bundle(
        folder / "bundle",
        architecture=pipeline.architecture,
        unet=pipeline.unet.state_dict(),
        vae=pipeline.vae.state_dict(),
        text=pipeline.text.state_dict(),
        controls={name: (net.state_dict(), "canny", {}) for name, net in pipeline.controls.items()},
        tokenizer=write_tokenizer(folder / "words"),
        name="tiny",
        version="1",
        native_size=(SIZE, SIZE),
        licence="CC0-1.0",
        training_data="none",
        metrics={},
        created=datetime(2026, 1, 1, tzinfo=UTC),
        dtype="float32",
    )


def test_a_bundle_makes_the_pictures_of_the_pipeline_it_was_written_from(pipeline: Pipeline, bundle: Bundle) -> None:
    assert np.array_equal(generate(Pipeline.load(bundle), [MIXED[3]])[0], generate(pipeline, [MIXED[3]])[0])


def test_a_bundle_is_loaded_without_what_imports_and_exports_models() -> None:
    code = "import sys, controlnet.pipeline; sys.exit('controlnet.checkpoint' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_weights_are_mapped_not_copied(bundle: Bundle) -> None:
    """A weight lies inside the mapping of its file, so that the replicas of a machine share its pages."""
    weight = Pipeline.load(bundle).unet.input_blocks[0][0].weight
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if "unet.safetensors" in line]
    spans = [tuple(int(bound, 16) for bound in line.split()[0].split("-")) for line in lines]
    assert any(low <= weight.data_ptr() < high for low, high in spans)


def test_weights_that_are_copied_anyway_are_laid_out_channels_last(bundle: Bundle) -> None:
    weight = Pipeline.load(bundle, dtype=torch.bfloat16).unet.input_blocks[1][0].in_layers[2].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_a_file_of_another_architecture_is_refused_with_all_its_keys(bundle: Bundle, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle.folder, tmp_path / "bundle")
    control = load_file(folder / "controls/canny.safetensors")
    save_file(
        {"strange": torch.zeros(1)} | {k: v for k, v in control.items() if k != "zero_convs.0.0.bias"}, folder / "x"
    )
    (folder / "x").rename(folder / "controls/canny.safetensors")
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"]["controls/canny.safetensors"]["bytes"] = (folder / "controls/canny.safetensors").stat().st_size
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"(?s)zero_convs.0.0.bias.*strange"):
        Pipeline.load(folder)


def overflowing(pipeline: Pipeline, dtype: torch.dtype) -> Pipeline:
    """The same networks, where a VAE's first activations are beyond half precision until a norm takes them back."""
    vae = copy.deepcopy(pipeline.vae)
    with torch.no_grad():
        for name, weight in vae.decoder.conv_in.named_parameters():
            weight.mul_(3e4 if name == "weight" else 0.0)
    nets = {name: copy.deepcopy(net) for name, net in pipeline.controls.items()}
    unet, text = copy.deepcopy(pipeline.unet), copy.deepcopy(pipeline.text)
    return Pipeline(TINY, unet=unet, vae=vae, text=text, tokenizer=pipeline.tokenizer, controls=nets, dtype=dtype)


def test_what_the_vae_cannot_decode_in_half_precision_is_decoded_in_float32(pipeline: Pipeline) -> None:
    half, whole = overflowing(pipeline, torch.float16), overflowing(pipeline, torch.float32)
    states = whole.encode([SPEC, replace(SPEC, seed=8)])
    assert not torch.isfinite(half.vae.decode(half.vae.from_latent(states[0].latent[None].half()))).any()
    pictures, right = half.decode(states), whole.decode(states)
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(pictures, right, strict=True)) < 1
    assert np.array_equal(half.decode(states[1:])[0], pictures[1])  # whoever is beside it


def test_a_vae_that_gives_nothing_finite_is_named(pipeline: Pipeline) -> None:
    broken = overflowing(pipeline, torch.float32)
    with torch.no_grad():
        next(broken.vae.decoder.parameters()).fill_(torch.nan)
    with pytest.raises(NotFinite, match="The VAE gives values that are not finite"):
        broken.decode(broken.encode([SPEC]))


@pytest.mark.parametrize(
    ("network", "named"),
    [("unet", "UNet"), ("text", "text encoder"), ("canny", "control canny")],
)
def test_a_network_that_gives_nothing_finite_is_named(pipeline: Pipeline, network: str, named: str) -> None:
    broken = overflowing(pipeline, torch.float32)
    net = broken.controls[network] if network in broken.controls else getattr(broken, network)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(torch.nan)
    states = broken.encode([replace(SPEC, controls=(Control("canny", hint()),))])
    with pytest.raises(NotFinite, match=f"The {named} gives") as caught:
        broken.decode(broken.step(states))
    assert pickle.loads(pickle.dumps(caught.value)).network == named


def test_a_step_alone_tells_a_controls_residuals_from_the_unet(pipeline: Pipeline) -> None:
    broken = overflowing(pipeline, torch.float32)
    with torch.no_grad():
        next(iter(broken.controls["canny"].parameters())).fill_(torch.nan)
    states = broken.encode([replace(SPEC, controls=(Control("canny", hint()), Control("depth", hint(1))))])
    with pytest.raises(NotFinite, match="The control canny or depth gives"):
        broken.decode(broken.step(states))
