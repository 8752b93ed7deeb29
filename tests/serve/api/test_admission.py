"""Sizes and bounds: what a request becomes, and what it is told when it can't."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from controlnet.bundle import Manifest
from controlnet.samplers import SAMPLERS
from serve.api.admission import Draft, settle
from serve.api.problems import InvalidFields
from serve.api.schemas import ImagesRequest
from serve.api.uploads import Uploads
from serve.config import Settings
from serve.errors import InvalidRequest
from tests.serve.api.conftest import MULTIPLE, b64, canny, picture


@pytest.fixture
def admit(manifest: Manifest, settings: Settings) -> Any:
    def admit(**fields: Any) -> Draft:
        request = ImagesRequest.model_validate({"prompt": "a gear", **fields})
        return settle(request, Uploads(), manifest, settings, lambda: 1)

    return admit


def refused(admit: Any, **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        admit(**fields)
    return caught.value


def test_the_multiple_of_the_test_bundle(manifest: Manifest) -> None:
    assert manifest.architecture.multiple == MULTIPLE


def test_without_a_picture_the_size_is_native(admit: Any) -> None:
    spec = admit().spec
    assert (spec.width, spec.height) == (128, 128)


@pytest.mark.parametrize(
    ("picture_size", "size"),
    [((96, 64), (192, 128)), ((600, 800), (128, 160)), ((64, 64), (128, 128)), ((333, 500), (128, 192))],
)
def test_a_picture_gives_the_shape_and_the_model_the_short_side(
    admit: Any, picture_size: tuple[int, int], size: tuple[int, int]
) -> None:
    spec = admit(controls=[canny(image=b64(picture(*picture_size)))]).spec
    assert (spec.width, spec.height) == size


@pytest.mark.parametrize(
    ("map_size", "size"),
    [
        ((320, 256), (320, 256)),
        ((64, 64), (128, 128)),  # not below what the model was trained at
        ((96, 200), (128, 256)),
        ((1024, 1024), (512, 512)),  # the largest that is made
        ((2000, 1000), (704, 352)),
    ],
)
def test_a_ready_map_decides_the_size_where_none_is_asked(
    admit: Any, map_size: tuple[int, int], size: tuple[int, int]
) -> None:
    spec = admit(controls=[{"type": "canny", "map": b64(picture(*map_size))}]).spec
    assert (spec.width, spec.height) == size
    asked = admit(controls=[{"type": "canny", "map": b64(picture(*map_size))}], width=128, height=128).spec
    assert (asked.width, asked.height) == (128, 128)


def test_the_native_size_has_the_same_bound(manifest: Manifest, settings: Settings) -> None:
    less = settings.model_copy(update={"max_pixels_out": 96 * 96})
    request = ImagesRequest.model_validate({"prompt": "a gear"})
    with pytest.raises(InvalidRequest) as caught:
        settle(request, Uploads(), manifest, less, lambda: 1)
    assert caught.value.field == "resolution"


def test_resolution_is_the_short_side(admit: Any) -> None:
    spec = admit(controls=[canny(image=b64(picture(64, 96)))], resolution=64).spec
    assert (spec.width, spec.height) == (64, 96)


def test_resolution_alone_scales_the_native_shape(admit: Any) -> None:
    spec = admit(resolution=256).spec
    assert (spec.width, spec.height) == (256, 256)


def test_an_orientation_tag_swaps_the_sides(admit: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    spec = admit(controls=[canny(image=b64(picture(96, 64, "JPEG", exif=exif)))]).spec
    assert (spec.width, spec.height) == (128, 192)


def test_the_first_controls_first_picture_decides(admit: Any) -> None:
    wide, tall = b64(picture(96, 64)), b64(picture(64, 96))
    spec = admit(controls=[canny(image=[tall, wide]), canny(image=wide)]).spec
    assert (spec.width, spec.height) == (128, 192)


def test_an_explicit_size_wins_over_the_picture(admit: Any) -> None:
    spec = admit(controls=[canny()], width=64, height=32).spec
    assert (spec.width, spec.height) == (64, 32)


def test_a_wrong_multiple_is_told_its_neighbours(admit: Any) -> None:
    error = refused(admit, width=100, height=128)
    assert (error.field, error.detail) == ("width", "100 is not a multiple of 32: the nearest is 96 or 128.")


def test_less_than_the_multiple_is_told_the_multiple(admit: Any) -> None:
    assert refused(admit, width=128, height=8).detail == "8 is not a multiple of 32: the nearest is 32."


@pytest.mark.parametrize(("given", "absent"), [("width", "height"), ("height", "width")])
def test_width_and_height_come_together(admit: Any, given: str, absent: str) -> None:
    assert refused(admit, **{given: 128}).field == absent


def test_resolution_excludes_an_explicit_size(admit: Any) -> None:
    assert refused(admit, width=128, height=128, resolution=64).field == "resolution"


@pytest.mark.parametrize(
    ("fields", "field", "bound"),
    [
        ({"width": 1024, "height": 512}, "width", "262144"),
        ({"width": 512, "height": 96}, "width", "4 times"),
        ({"resolution": 1024}, "resolution", "262144"),
        ({"resolution": 5}, "resolution", "17"),
        ({"controls": [canny(image=b64(picture(500, 20)))]}, "controls.0.image", "4"),
        ({"n": 13}, "n", "12"),
        ({"steps": 101}, "steps", "100"),
        ({"controls": [canny()] * 4}, "controls", "3"),
        ({"controls": [canny(type="depth")]}, "controls.0.type", "canny, sketch"),
        ({"controls": [canny(start=0.6, end=0.5)]}, "controls.0.end", "0.6"),
        ({"controls": [canny(map=b64(picture()))]}, "controls.0.image", "either"),
        ({"controls": [{"type": "canny"}]}, "controls.0.image", "either"),
        ({"controls": [canny(image=b64(picture(100, 100)) + "!")]}, "controls.0.image", "base64"),
        ({"controls": [canny(image="../../etc/passwd")]}, "controls.0.image", "No uploaded file"),
    ],
)
def test_a_broken_bound_is_named(admit: Any, fields: dict[str, Any], field: str, bound: str) -> None:
    error = refused(admit, **fields)
    assert error.field == field
    assert bound in error.detail


@pytest.mark.parametrize(
    ("parameters", "field", "bound"),
    [
        ({"low_threshold": 0.0}, "controls.0.parameters.low_threshold", "1..255"),
        ({"hi": 3.0}, "controls.0.parameters.hi", "low_threshold, high_threshold"),
    ],
)
def test_an_annotators_bounds_are_named(admit: Any, parameters: dict[str, float], field: str, bound: str) -> None:
    with pytest.raises(InvalidFields) as caught:
        admit(controls=[canny(parameters=parameters)])
    ((found, detail),) = caught.value.errors
    assert found == field
    assert bound in detail


def test_a_map_takes_no_parameters(admit: Any) -> None:
    with pytest.raises(InvalidFields) as caught:
        admit(controls=[{"type": "canny", "map": b64(picture()), "parameters": {"low_threshold": 9.0}}])
    assert caught.value.errors[0][0] == "controls.0.parameters.low_threshold"


def test_a_request_may_choose_the_annotator(admit: Any) -> None:
    chosen = canny(annotator="threshold", parameters={"threshold": 40.0})
    assert [(c.annotator, c.parameters) for c in admit(controls=[chosen]).spec.controls] == [
        ("threshold", {"threshold": 40.0})
    ]


def test_the_bundles_parameters_are_those_of_the_controls_own_annotator(admit: Any, manifest: Manifest) -> None:
    (own,) = admit(controls=[canny(annotator="canny", parameters={})]).spec.controls
    assert own.parameters == manifest.controls["canny"].parameters
    (other,) = admit(controls=[canny(annotator="invert", parameters={})]).spec.controls
    assert other.parameters == {}


@pytest.mark.parametrize(
    ("control", "detail"),
    [
        ({"image": b64(picture()), "annotator": "depth"}, "canny, invert, none, threshold"),
        ({"map": b64(picture()), "annotator": "canny"}, "A `map` is ready"),
    ],
)
def test_an_annotator_that_is_not_here_or_not_needed_is_refused(
    admit: Any, control: dict[str, Any], detail: str
) -> None:
    error = refused(admit, controls=[{"type": "canny", **control}])
    assert error.field == "controls.0.annotator"
    assert detail in error.detail


def test_two_bad_parameters_are_both_named(admit: Any) -> None:
    with pytest.raises(InvalidFields) as caught:
        admit(controls=[canny(parameters={"low_threshold": 0.0, "high_threshold": 300.0})])
    assert len(caught.value.errors) == 2


def test_n_bounds_come_before_pictures_are_read(admit: Any) -> None:
    assert refused(admit, n=13, controls=[canny(image="!" * 100)]).field == "n"


def test_every_sampler_can_be_asked_for(admit: Any) -> None:
    assert [admit(sampler=name).spec.sampler for name in SAMPLERS] == list(SAMPLERS)
