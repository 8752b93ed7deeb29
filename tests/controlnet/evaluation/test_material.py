from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from controlnet.evaluation.material import material_of
from controlnet.evaluation.scenes import find_seeds, render_cases, single, single_held_out
from controlnet.parts import MATERIALS, render, sample_scene


def test_it_tells_at_least_98_percent_of_real_held_out_renders() -> None:
    cases = list(render_cases(find_seeds(60, single_held_out), 128))
    hits = [material_of(case.image, case.mask) == case.truth["material"] for case in cases]
    assert np.mean(hits) >= 0.98


@pytest.mark.parametrize("material", MATERIALS)
def test_rust_is_not_taken_for_copper(material: str) -> None:
    scene = sample_scene(find_seeds(1, single)[0])
    rusty = dataclasses.replace(scene.parts[0], material=material, defect="rust")
    rendering = render(dataclasses.replace(scene, parts=(rusty,)))
    assert MATERIALS[material_of(rendering.image, rendering.mask)] == material


def test_colours_outside_the_mask_do_not_count() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[...] = (200, 170, 40)
    mask = np.zeros((16, 16), bool)
    mask[4:12, 4:12] = True
    image[mask] = (150, 152, 155)
    assert MATERIALS[material_of(image, mask)] == "steel"
    assert MATERIALS[material_of(image, ~mask)] == "brass"


def test_a_mask_of_a_pixel_has_a_colour() -> None:
    mask = np.zeros((16, 16), bool)
    mask[3, 3] = True
    assert MATERIALS[material_of(np.full((16, 16, 3), 10, np.uint8), mask)] == "black"


def test_no_mask_has_no_material() -> None:
    with pytest.raises(ValueError, match="mask is empty"):
        material_of(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), bool))
