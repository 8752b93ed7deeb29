"""Bundles: a sound one opens, anything else is refused by name."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from controlnet.architecture import SD15
from controlnet.bundle import Bundle, BundleError, Defaults, write_bundle

FILES = (
    "controls/canny.safetensors",
    "controls/sketch.safetensors",
    "text.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet.safetensors",
    "vae.safetensors",
)


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "vocab.json").write_text('{"<|startoftext|>": 0, "<|endoftext|>": 1}')
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    (tokenizer / "notes.md").write_text("not a tokenizer's file")
    draw = torch.Generator().manual_seed(0)
    return {
        "architecture": SD15,
        "unet": {"b": torch.randn(3, 2, generator=draw), "a": torch.randn(5, generator=draw)},
        "vae": {"c": torch.randn(4, generator=draw)},
        "text": {"d": torch.randn(4, generator=draw)},
        "controls": {
            "canny": ({"e": torch.randn(2, generator=draw)}, "canny", {"low_threshold": 60}),
            "sketch": ({"f": torch.randn(2, generator=draw)}, "none", {}, "Lines drawn by hand."),
        },
        "tokenizer": tokenizer,
        "name": "demo",
        "version": "1.0.0",
        "native_size": (512, 576),
        "licence": "Apache-2.0",
        "training_data": {"pictures": 3},
        "metrics": {"canny_f1": 0.5},
        "created": datetime(2026, 11, 23, 12, tzinfo=UTC),
    }


@pytest.fixture
def bundle(tmp_path: Path, arguments: dict[str, Any]) -> Bundle:
    return write_bundle(tmp_path / "bundle", **arguments)


def edit(bundle: Bundle, change: Callable[[dict[str, Any]], object]) -> None:
    file = bundle.folder / "bundle.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def test_a_written_bundle_opens_and_verifies(bundle: Bundle) -> None:
    opened = Bundle.open(bundle.folder)
    opened.verify()
    assert opened == bundle
    assert tuple(sorted(opened.manifest.files)) == FILES
    assert opened.manifest.architecture == SD15
    assert (opened.manifest.native_size.width, opened.manifest.native_size.height) == (512, 576)


def test_a_control_gets_all_parameters_and_a_description(bundle: Bundle) -> None:
    canny, sketch = bundle.manifest.controls["canny"], bundle.manifest.controls["sketch"]
    assert canny.parameters == {"low_threshold": 60, "high_threshold": 200}
    assert "white on black" in canny.description
    assert (sketch.annotator, sketch.parameters, sketch.description) == ("none", {}, "Lines drawn by hand.")


def test_equal_arguments_give_equal_digests(tmp_path: Path, arguments: dict[str, Any], bundle: Bundle) -> None:
    again = write_bundle(tmp_path / "again", **arguments)
    assert again.digest == bundle.digest
    assert (again.folder / "bundle.json").read_bytes() == (bundle.folder / "bundle.json").read_bytes()


def test_spacing_and_order_of_the_manifest_do_not_count(bundle: Bundle) -> None:
    text = (bundle.folder / "bundle.json").read_text()
    assert bundle.digest.startswith("sha256:")
    (bundle.folder / "bundle.json").write_text(json.dumps(json.loads(text), indent=7, sort_keys=True))
    assert Bundle.open(bundle.folder).digest == bundle.digest


@pytest.mark.parametrize("field", ["unet", "metrics", "created", "version"])
def test_another_content_gives_another_digest(
    tmp_path: Path, arguments: dict[str, Any], bundle: Bundle, field: str
) -> None:
    other = {
        "unet": arguments["unet"] | {"a": torch.ones(5)},
        "metrics": {"canny_f1": 0.6},
        "created": datetime(2026, 11, 24, tzinfo=UTC),
        "version": "1.0.1",
    }
    changed = write_bundle(tmp_path / "other", **(arguments | {field: other[field]}))
    assert changed.digest != bundle.digest


def test_weights_are_stored_at_the_asked_precision(bundle: Bundle, arguments: dict[str, Any]) -> None:
    from safetensors.torch import load_file

    stored = load_file(bundle.path("unet.safetensors"))
    assert {key: tensor.dtype for key, tensor in stored.items()} == {"a": torch.float16, "b": torch.float16}
    torch.testing.assert_close(stored["a"].float(), arguments["unet"]["a"], rtol=1e-3, atol=1e-4)


def test_a_weight_that_overflows_is_refused_and_nothing_is_left(tmp_path: Path, arguments: dict[str, Any]) -> None:
    arguments["vae"] = {"c": torch.tensor([1e6])}
    with pytest.raises(BundleError, match=r"c in vae\.safetensors isn't finite as float16"):
        write_bundle(tmp_path / "out" / "bundle", **arguments)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tokenizer_of_newer_transformers_is_taken_apart(tmp_path: Path, arguments: dict[str, Any]) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    model = {"vocab": {"a": 0, "é</w>": 1}, "merges": [["a", "é</w>"], "a a"]}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model}))
    bundle = write_bundle(tmp_path / "out", **(arguments | {"tokenizer": folder}))
    assert json.loads(bundle.path("tokenizer/vocab.json").read_text()) == model["vocab"]
    assert bundle.path("tokenizer/merges.txt").read_text() == "#version: 0.2\na é</w>\na a\n"


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="is no tokenizer"):
        write_bundle(tmp_path / "out" / "bundle", **(arguments | {"tokenizer": tmp_path}))


def test_writing_does_not_touch_the_weights(arguments: dict[str, Any], bundle: Bundle) -> None:
    assert arguments["unet"]["a"].dtype == torch.float32


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path, arguments: dict[str, Any]) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("x")
    with pytest.raises(BundleError, match="is not empty"):
        write_bundle(tmp_path / "taken", **arguments)


def test_a_file_that_is_there_is_left_alone(tmp_path: Path, arguments: dict[str, Any]) -> None:
    (tmp_path / "bundle").write_text("mine")
    with pytest.raises(BundleError, match="is there already: choose another name, or remove it first"):
        write_bundle(tmp_path / "bundle", **arguments)


def test_its_files_and_folders_may_be_read_by_whoever_the_umask_says(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    modes = {path.stat().st_mode for path in (bundle.folder, *bundle.folder.rglob("*"))}
    assert modes == {(tmp_path / "file").stat().st_mode, (tmp_path / "folder").stat().st_mode}


def test_a_manifest_that_would_be_invalid_is_told_without_links(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"would be invalid: name: ") as error:
        write_bundle(tmp_path / "bundle", **arguments | {"name": "My Model"})
    assert "http" not in str(error.value)


def test_an_unknown_annotator_is_refused_with_the_choices(tmp_path: Path, arguments: dict[str, Any]) -> None:
    arguments["controls"] = {"canny": ({}, "cany", {})}
    with pytest.raises(ValueError, match=r"annotator 'cany' is unknown: choose from canny,"):
        write_bundle(tmp_path / "out", **arguments)


@pytest.mark.parametrize("name", ["../evil", "Canny", "a-b", ""])
def test_a_control_name_is_a_plain_word(tmp_path: Path, arguments: dict[str, Any], name: str) -> None:
    arguments["controls"] = {name: ({"e": torch.ones(1)}, "none", {})}
    with pytest.raises(ValueError, match="control"):
        write_bundle(tmp_path / "deep" / "out", **arguments)
    assert not list(tmp_path.rglob("*evil*"))


def test_a_native_size_the_architecture_cannot_make_is_refused(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="512x500 is not a multiple of 64"):
        write_bundle(tmp_path / "out", **(arguments | {"native_size": (512, 500)}))


@pytest.mark.parametrize("path", FILES)
def test_one_flipped_byte_is_found_and_its_file_named(bundle: Bundle, path: str) -> None:
    file = bundle.folder / path
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match=f"^{path} in bundle"):
        Bundle.open(bundle.folder).verify()


@pytest.mark.parametrize("path", FILES)
def test_a_cut_file_is_refused_at_opening(bundle: Bundle, path: str) -> None:
    file = bundle.folder / path
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleError, match=f"^{path} in bundle .* bytes, not"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize("path", FILES)
def test_a_missing_file_is_refused_at_opening(bundle: Bundle, path: str) -> None:
    (bundle.folder / path).unlink()
    with pytest.raises(BundleError, match=f"lacks {path}"):
        Bundle.open(bundle.folder)


def test_an_unlisted_file_is_refused(bundle: Bundle) -> None:
    (bundle.folder / "tokenizer" / "extra.json").write_text("{}")
    with pytest.raises(BundleError, match=r"doesn't list: tokenizer/extra\.json"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize("name", ["weights.pth", "model.ckpt", "run.py", "unet.bin", "noextension"])
def test_other_kinds_of_files_are_refused(bundle: Bundle, name: str) -> None:
    (bundle.folder / name).write_text("x")
    with pytest.raises(BundleError, match=f"{name} in bundle .* is none of"):
        Bundle.open(bundle.folder)


def test_a_link_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    file = bundle.folder / "unet.safetensors"
    file.rename(tmp_path / "elsewhere.safetensors")
    file.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(BundleError, match=r"unet\.safetensors in bundle .* is not a plain file"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize("path", ["../up.json", "/etc/x.json", "a/../b.json", "./a.json", "a\\b.json", "bundle.json"])
def test_a_listed_path_that_leaves_the_folder_is_refused(bundle: Bundle, path: str) -> None:
    edit(bundle, lambda data: data["files"].update({path: {"sha256": "0" * 64, "bytes": 1}}))
    with pytest.raises(BundleError, match="not a plain relative path"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize("path", ["model.pth", "hook.py"])
def test_a_listed_path_of_another_kind_is_refused(bundle: Bundle, path: str) -> None:
    edit(bundle, lambda data: data["files"].update({path: {"sha256": "0" * 64, "bytes": 1}}))
    with pytest.raises(BundleError, match="the only files a bundle holds"):
        Bundle.open(bundle.folder)


INVALID: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda m: m.update(format=2), "format"),
    "unknown field": (lambda m: m.update(extra=1), "extra: Extra inputs"),
    "unknown number": (lambda m: m["architecture"]["unet"].update(width=3), r"architecture\.unet\.width"),
    "number left out": (lambda m: m["architecture"]["unet"].pop("num_heads"), "leaves out some numbers"),
    "numbers that don't fit": (lambda m: m["architecture"]["unet"].update(context_dim=1024), "must be equal"),
    "text for a number": (lambda m: m["defaults"].update(steps="20"), r"defaults\.steps"),
    "missing field": (lambda m: m.pop("licence"), "licence: Field required"),
    "unknown sampler": (lambda m: m["defaults"].update(sampler="plms"), r"defaults\.sampler"),
    "infinite guidance": (lambda m: m["defaults"].update(guidance=1e999), "Infinity is not JSON"),
    "no time zone": (lambda m: m.update(created="2026-01-01T00:00:00"), "created"),
    "no unet": (lambda m: m["files"].pop("unet.safetensors"), r"lacks unet\.safetensors"),
    "a control of another file": (lambda m: m["controls"]["canny"].update(file="vae.safetensors"), "control canny"),
    "a control of another digest": (lambda m: m["controls"]["canny"].update(sha256="0" * 64), "control canny: sha256"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_manifest_is_refused_with_the_field(bundle: Bundle, case: str) -> None:
    change, message = INVALID[case]
    edit(bundle, change)
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "can't be read as JSON"),
        ("[]", "holds no JSON object"),
        ('{"name": 1, "name": 2}', "same key twice"),
        ("[" * 500_000, "can't be read as JSON"),
        (" " * 2_000_000, "more than 1048576 bytes"),
    ],
)
def test_a_broken_manifest_is_refused(bundle: Bundle, text: str, message: str) -> None:
    (bundle.folder / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle.folder)


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is no bundle: it has no bundle\.json"):
        Bundle.open(tmp_path)


def test_a_path_is_given_for_listed_names_only(bundle: Bundle) -> None:
    assert bundle.path("controls/canny.safetensors").is_file()
    assert bundle.path("tokenizer").is_dir()
    with pytest.raises(BundleError, match=r"'\.\./x' is not in the bundle; it holds controls/canny"):
        bundle.path("../x")


def test_defaults_may_be_given(tmp_path: Path, arguments: dict[str, Any]) -> None:
    defaults = Defaults(steps=30, guidance=3.0, negative_prompt="blurry", sampler="dpmpp_2m")
    assert write_bundle(tmp_path / "out", **arguments, defaults=defaults).manifest.defaults == defaults


def test_the_samplers_are_those_of_the_library() -> None:
    from controlnet.samplers import SAMPLERS

    assert set(Defaults.model_json_schema()["properties"]["sampler"]["enum"]) == set(SAMPLERS)


def test_reading_needs_neither_torch_nor_opencv() -> None:
    code = "import sys, controlnet.bundle; print(sorted({'torch', 'cv2', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
