"""What all annotators promise."""

import subprocess
import sys

import numpy as np
import pytest

from controlnet.annotators import ANNOTATORS, Parameter, find

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ANNOTATORS)
def test_a_map_is_a_picture_of_the_same_size_in_memory_of_its_own(name: str) -> None:
    before = PICTURE.copy()
    made = ANNOTATORS[name](PICTURE)
    assert (made.dtype, made.shape) == (np.uint8, PICTURE.shape)
    assert not np.shares_memory(made, PICTURE)
    np.testing.assert_array_equal(PICTURE, before)


@pytest.mark.parametrize("name", ANNOTATORS)
def test_a_view_with_strides_gives_the_same_map(name: str) -> None:
    np.testing.assert_array_equal(ANNOTATORS[name](PICTURE[::-1, ::2]), ANNOTATORS[name](PICTURE[::-1, ::2].copy()))


@pytest.mark.parametrize("name", ANNOTATORS)
def test_parameters_have_sound_bounds(name: str) -> None:
    for parameter in ANNOTATORS[name].parameters:
        assert parameter.minimum <= parameter.default <= parameter.maximum
        assert parameter.step > 0


def test_the_registry_is_keyed_by_name() -> None:
    assert {name: annotator.name for name, annotator in ANNOTATORS.items()} == {name: name for name in ANNOTATORS}
    assert set(ANNOTATORS) >= {"canny", "none", "invert", "threshold"}


def test_an_unknown_annotator_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="annotator 'depth' is unknown: choose from canny, invert, none, threshold"):
        find("depth")


def test_validation_fills_in_defaults() -> None:
    assert find("canny").validate({"high_threshold": 150}) == {"low_threshold": 100, "high_threshold": 150}


@pytest.mark.parametrize("value", [0, 256, -1, float("nan"), float("inf"), True, "100", None, [100]])
def test_a_value_out_of_bounds_is_refused_with_name_value_and_bounds(value: object) -> None:
    with pytest.raises(ValueError, match=r"low_threshold of annotator canny is .*: give a number in 1\.\.255") as error:
        find("canny").validate({"low_threshold": value})
    assert repr(value) in str(error.value)


def test_an_unknown_parameter_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="'low' is no parameter of annotator canny: choose from low_threshold, high"):
        find("canny").validate({"low": 1})


def test_an_annotator_without_parameters_takes_none() -> None:
    with pytest.raises(ValueError, match="'threshold' is no parameter of annotator invert: it has none"):
        find("invert")(PICTURE, {"threshold": 1})


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (4, 4, 4), (1, 4, 4, 3)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"give uint8 \[H, W, 3\]"):
        find("none")(np.zeros(shape, np.uint8))


def test_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the picture is float32"):
        find("none")(PICTURE.astype(np.float32))


def test_a_parameter_with_a_default_out_of_bounds_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"default 3 is not in 0\.\.2"):
        Parameter("strength", 0, 2, 3, 1, "")


def test_annotators_do_not_need_torch() -> None:
    code = "import sys, controlnet.annotators; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
