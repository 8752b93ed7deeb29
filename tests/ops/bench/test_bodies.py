from __future__ import annotations

import json

import pytest
import torch

from ops.bench.bodies import bodies
from ops.bench.crowds import mixed
from ops.bench.peers.request import spec_of
from ops.bench.subjects import Subject, demo


@pytest.fixture(scope="module")
def shipped() -> Subject:
    return demo()


def test_a_body_says_all_of_an_image_but_its_map(shipped: Subject) -> None:
    steps = (2, 3)
    for asked, meant in zip(bodies(shipped, 4, steps).values(), mixed(shipped, 4, steps).values(), strict=True):
        spec = spec_of(json.loads(json.dumps(asked)))
        names = ("prompt", "negative_prompt", "width", "height", "steps", "guidance", "seed", "sampler", "rows")
        assert [getattr(spec, name) for name in names] == [getattr(meant, name) for name in names]
        (control,), (wanted,) = spec.controls, meant.controls
        assert (control.name, control.start, control.end) == (wanted.name, wanted.start, wanted.end)


def test_its_map_is_made_of_its_picture(shipped: Subject) -> None:
    """Edges of the lines that `mixed` drew: two tones, some of each, other ones for each image."""
    maps = [spec_of(body).controls[0].hint for body in bodies(shipped, 2, (2,)).values()]
    assert maps[0].unique().tolist() == [0.0, 1.0]
    assert not torch.equal(*maps)
