"""Model cards: an export comes back as the model it was, and what a card says is checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from controlnet.bundle import DEMO, Bundle
from controlnet.checkpoint import (
    CheckpointError,
    ModelCard,
    export_control,
    export_diffusers,
    export_original,
    import_checkpoint,
    import_control,
    import_diffusers,
    read_card,
)
from controlnet.checkpoint.card import FILE, KEY

EXPORTS: dict[str, Callable[[Bundle, Path], Path]] = {
    "file": lambda bundle, target: export_original(bundle, "canny", target / "x.safetensors"),
    "control": lambda bundle, target: export_control(bundle, "canny", target / "x.safetensors"),
    "folder": lambda bundle, target: export_diffusers(bundle, target / "x"),
}


def carded(file: Path, change: Callable[[str], str], target: Path) -> Path:
    """A copy of a file whose card is another text."""
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    save_file(load_file(file), target, metadata | {KEY: change(metadata[KEY])})
    return target


def changed(card: str, **unet: object) -> str:
    data = json.loads(card)
    data["architecture"]["unet"] |= unet
    return json.dumps(data)


@pytest.fixture(scope="module")
def full(flat: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_original(flat, "canny", tmp_path_factory.mktemp("full") / "full.safetensors")


@pytest.mark.parametrize("kind", EXPORTS)
def test_an_export_says_what_its_bundle_says(flat: Bundle, tmp_path: Path, kind: str) -> None:
    card, manifest = read_card(EXPORTS[kind](flat, tmp_path)), flat.manifest
    assert card is not None
    for field in ("name", "version", "licence", "architecture", "native_size", "defaults"):
        assert getattr(card, field) == getattr(manifest, field), field
    assert set(card.controls) == (set(manifest.controls) if kind == "folder" else {"canny"})
    assert card.controls["canny"].parameters == manifest.controls["canny"].parameters


def test_a_base_alone_has_no_controls(flat: Bundle, tmp_path: Path) -> None:
    card = read_card(export_original(flat, None, tmp_path / "x.safetensors"))
    assert card is not None
    assert card.controls == {}


def test_the_shipped_model_has_its_architecture_again_from_either_layout(tmp_path: Path) -> None:
    demo = Bundle.open(DEMO)
    file = import_checkpoint(EXPORTS["file"](demo, tmp_path))
    folder = import_diffusers(EXPORTS["folder"](demo, tmp_path))
    assert file.architecture == folder.architecture == demo.manifest.architecture
    assert set(file.controls) == set(folder.controls) == {"canny"}


def test_numbers_that_are_given_come_before_those_of_the_card(full: Path, flat: Bundle) -> None:
    other = replace(flat.manifest.architecture.schedule, prediction="eps")
    like = replace(flat.manifest.architecture, schedule=other)
    assert import_checkpoint(full, like=like).architecture.schedule == other
    assert import_checkpoint(full, heads=1).architecture == replace(
        flat.manifest.architecture, unet=replace(flat.manifest.architecture.unet, num_heads=1)
    )


def test_configs_that_were_changed_come_before_the_card(flat: Bundle, tmp_path: Path) -> None:
    folder = EXPORTS["folder"](flat, tmp_path)
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": "epsilon"}))
    assert import_diffusers(folder).architecture.schedule.prediction == "eps"


def test_weights_that_are_not_the_cards_are_refused(full: Path, tmp_path: Path) -> None:
    file = carded(full, lambda card: changed(card, model_channels=16), tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="does not fit the model"):
        import_checkpoint(file)


def test_a_control_of_other_heads_is_refused_although_its_shapes_fit(flat: Bundle, tmp_path: Path) -> None:
    file = export_control(flat, "canny", tmp_path / "control.safetensors")
    other = carded(file, lambda card: changed(card, num_heads=4), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"is for another model: .*num_heads=4.*; not .*num_heads=2"):
        import_control(other, architecture=flat.manifest.architecture)


def test_what_others_made_has_no_card(full: Path, tmp_path: Path) -> None:
    save_file(load_file(full), tmp_path / "plain.safetensors")
    (tmp_path / "x.ckpt").write_bytes(b"")
    (tmp_path / "damaged.safetensors").write_bytes(b"no header")
    for name in ("plain.safetensors", "x.ckpt", "damaged.safetensors", "none.safetensors", "."):
        assert read_card(tmp_path / name) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Invalid JSON"),
        ("{}", "format: Field required"),
        ("x" * (1 << 20) + "x", "has more than 1048576 characters"),
    ],
)
def test_a_card_that_can_not_be_read_is_named(flat: Bundle, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CheckpointError, match=f"The model card of {tmp_path} .*{message}"):
        read_card(tmp_path)


def test_a_card_of_a_later_version_may_say_more(flat: Bundle, tmp_path: Path) -> None:
    card = ModelCard.of(flat.manifest, [])
    (tmp_path / FILE).write_text(json.dumps({**json.loads(card.text()), "more": 1}))
    assert read_card(tmp_path) == card
