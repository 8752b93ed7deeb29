from __future__ import annotations

import pytest

from serve.jobs.store import WEEK_S

MADE = {"type": "canny", "annotator": "canny", "parameters": {"low": 100.5}, "width": 256, "height": 192}


@pytest.fixture
def control_map(store):
    return store.maps.put("demo", **MADE, key="demo/aa/map.png")


def test_a_map_reads_back_as_it_was_put(store, control_map, clock):
    assert store.maps.get(control_map.id, "demo") == control_map
    assert {name: getattr(control_map, name) for name in MADE} == MADE
    assert (control_map.created_at, control_map.expires_at) == (clock.now, clock.now + WEEK_S)


def test_another_tenants_map_is_none(store, control_map):
    assert store.maps.get(control_map.id, "red") is None


def test_an_unknown_id_is_none(store):
    assert store.maps.get("map_0", "demo") is None


def test_a_map_is_kept_for_its_time_and_then_goes_with_its_artifact(store, control_map, clock):
    clock.advance(WEEK_S - 1)
    assert store.retention.expire() == 0
    assert store.maps.get(control_map.id, "demo") == control_map
    clock.advance(1)
    assert store.maps.get(control_map.id, "demo") is None
    assert store.retention.expire() == 1
    assert store.retention.condemned() == ["demo/aa/map.png"]


def test_a_job_that_uses_a_map_keeps_its_artifact(store, spec, model, clock):
    (key,) = spec.keys
    store.maps.put("demo", **MADE, key=key)
    clock.advance(WEEK_S)
    store.submit("demo", spec, model)
    store.retention.expire()
    assert store.retention.condemned() == []
