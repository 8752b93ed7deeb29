"""Scenes, their captions and the held-out combinations."""

import numpy as np
import pytest

from controlnet.parts.scene import (
    BENCHES,
    DEFECTS,
    HELD_OUT,
    KINDS,
    MATERIALS,
    VOCABULARY,
    caption,
    held_out,
    sample_scene,
)

SCENES = [sample_scene(seed) for seed in range(3000)]


def test_the_same_seed_draws_the_same_scene() -> None:
    assert [sample_scene(seed) for seed in range(50)] == SCENES[:50]


def test_the_shares_of_single_several_and_close_up_scenes() -> None:
    close_up = np.mean([scene.close_up for scene in SCENES])
    several = np.mean([len(scene.parts) > 1 for scene in SCENES])
    assert close_up == pytest.approx(0.2, abs=0.03)
    assert several == pytest.approx(0.25, abs=0.03)


def test_every_value_of_every_axis_is_drawn() -> None:
    parts = [part for scene in SCENES for part in scene.parts]
    assert {part.kind for part in parts} == set(KINDS)
    assert {part.material for part in parts} == set(MATERIALS)
    assert {part.defect for part in parts} == set(DEFECTS)
    assert {scene.bench for scene in SCENES} == set(BENCHES)


def test_discs_are_the_most_frequent_part_of_crowds() -> None:
    kinds = [part.kind for scene in SCENES if len(scene.parts) > 1 for part in scene.parts]
    assert kinds.count("disc") > 0.4 * len(kinds)


def test_parts_of_a_scene_at_most_touch() -> None:
    for scene in SCENES:
        for i, a in enumerate(scene.parts):
            for b in scene.parts[:i]:
                assert np.hypot(a.x - b.x, a.y - b.y) > 0.96 * (a.radius + b.radius)


def test_captions_use_the_vocabulary_and_all_of_it() -> None:
    rng = np.random.default_rng(0)
    captions = [caption(scene, rng) for scene in SCENES]
    words = {word for text in captions for word in text.replace(",", " ").split()}
    assert words == set(VOCABULARY)
    assert all(text == " ".join(text.lower().split()) for text in captions)


def test_a_caption_names_the_part_its_defect_and_the_bench() -> None:
    scene = next(s for s in SCENES if len(s.parts) == 1 and s.parts[0].defect == "rust")
    text = caption(scene, np.random.default_rng(1))
    bench = "light" if scene.bench == "cream" else scene.bench
    assert f"rusty {scene.parts[0].material} {scene.parts[0].kind}" in text
    assert f"{bench} bench" in text


def test_about_eight_percent_of_the_combinations_are_held_out() -> None:
    combinations = {(k, m, b) for k in KINDS for m in MATERIALS for b in BENCHES}
    assert combinations >= HELD_OUT
    assert 0.06 < len(HELD_OUT) / len(combinations) < 0.1


def test_training_still_sees_every_pair_of_values() -> None:
    train = {(part.kind, part.material, scene.bench) for scene in SCENES if not held_out(scene) for part in scene.parts}
    assert not train & HELD_OUT
    assert {(k, m) for k, m, _ in train} == {(k, m) for k in KINDS for m in MATERIALS}
    assert {(k, b) for k, _, b in train} == {(k, b) for k in KINDS for b in BENCHES}
    assert {(m, b) for _, m, b in train} == {(m, b) for m in MATERIALS for b in BENCHES}
