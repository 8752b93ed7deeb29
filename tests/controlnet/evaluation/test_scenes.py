from __future__ import annotations

import numpy as np

from controlnet.evaluation.scenes import (
    FIRST_SEED,
    find_seeds,
    other_held_out,
    render_cases,
    single_held_out,
    single_seen,
)
from controlnet.parts import HELD_OUT, KINDS, MATERIALS, VOCABULARY, sample_scene


def combinations(seed: int) -> set[tuple[str, str, str]]:
    scene = sample_scene(seed)
    return {(part.kind, part.material, scene.bench) for part in scene.parts}


def test_held_out_scenes_of_one_part_are_combinations_that_training_never_sees() -> None:
    seeds = find_seeds(20, single_held_out)
    assert len(set(seeds)) == 20
    assert min(seeds) >= FIRST_SEED
    assert all(combinations(seed) <= HELD_OUT and len(combinations(seed)) == 1 for seed in seeds)
    assert not any(sample_scene(seed).close_up for seed in seeds)


def test_other_held_out_scenes_show_several_parts_or_a_close_up() -> None:
    scenes = [sample_scene(seed) for seed in find_seeds(20, other_held_out)]
    assert all(len(scene.parts) > 1 or scene.close_up for scene in scenes)
    assert {scene.close_up for scene in scenes} == {True, False}


def test_seen_scenes_hold_nothing_held_out() -> None:
    assert not any(combinations(seed) & HELD_OUT for seed in find_seeds(20, single_seen))


def test_a_case_shows_and_says_what_its_scene_holds() -> None:
    (case,) = render_cases(find_seeds(1, single_held_out), 32)
    (part,) = case.scene.parts
    assert part.kind in case.prompt
    assert set(case.prompt.replace(",", "").split()) <= set(VOCABULARY)
    assert case.truth["part"] == KINDS.index(part.kind)
    assert case.truth["material"] == MATERIALS.index(part.material)
    assert case.image.shape == (32, 32, 3)
    assert 0 < case.mask.mean() < 1


def test_cases_are_the_same_each_time() -> None:
    first, again = (next(iter(render_cases([FIRST_SEED], 32))) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    assert first.prompt == again.prompt
