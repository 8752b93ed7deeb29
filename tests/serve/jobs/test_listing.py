"""A tenant's jobs page by page."""

from __future__ import annotations

import base64
import json

import pytest

from serve.errors import InvalidRequest


def pages(store, limit, **how):
    """The ids of every page, following the cursors."""
    found, after = [], None
    while True:
        page = store.page("demo", after=after, limit=limit, **how)
        found.append([job.id for job in page.jobs])
        after = page.after
        if after is None:
            return found


def test_pages_hold_every_job_once_the_newest_first(store, submit):
    ids = [submit().id for _ in range(7)]
    assert pages(store, 3) == [ids[6:3:-1], ids[3:0:-1], ids[:1]]


def test_a_full_last_page_has_no_cursor(store, submit):
    ids = [submit().id for _ in range(4)]
    assert pages(store, 2) == [ids[3:1:-1], ids[1::-1]]


def test_jobs_of_one_moment_are_told_apart(store, spec, model):
    ids = {store.submit("demo", spec, model).id for _ in range(5)}
    found = [job_id for page in pages(store, 2) for job_id in page]
    assert len(found) == 5
    assert set(found) == ids


def test_a_page_goes_on_where_the_last_ended_though_newer_ones_came(store, submit):
    old, new = submit(), submit()
    first = store.page("demo", limit=1)
    submit()
    assert [job.id for job in first.jobs] == [new.id]
    assert [job.id for job in store.page("demo", after=first.after).jobs] == [old.id]


def test_pages_show_the_states_that_were_asked_for(store, submit, claim_one):
    done, running, queued = submit(), submit(), submit()
    store.fail(claim_one(), {"type": "internal"})
    claim_one()
    assert pages(store, 5, states=["failed"]) == [[done.id]]
    assert pages(store, 1, states=["queued", "running"]) == [[queued.id], [running.id]]


def test_pages_show_one_tenants_jobs(store, submit):
    submit("red")
    job = submit("blue")
    assert [found.id for found in store.page("blue").jobs] == [job.id]
    assert store.page("green").jobs == ()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "bm90IGpzb24",
        *(
            base64.urlsafe_b64encode(json.dumps(bad).encode()).decode()
            for bad in (
                1,
                [],
                [1.0],
                ["a", "b"],
                [1.0, "\ud800"],
                [1.0, 2],
                [1.0, "a\0b"],
                {"a": 1, "b": 2},
            )
        ),
    ],
)
def test_what_is_no_cursor_is_refused(store, cursor):
    with pytest.raises(InvalidRequest) as refused:
        store.page("demo", after=cursor)
    assert refused.value.field == "cursor"
