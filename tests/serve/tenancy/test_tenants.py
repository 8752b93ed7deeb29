from __future__ import annotations

from dataclasses import replace

import pytest

from serve.tenancy.tenants import Change, Limits, Tenant, Tenants

LIMITS = Limits(requests_per_minute=600, gflop_per_day=5e7, retention_days=0.5, models=("a", "b"))


def test_limits_come_back_from_a_row(tenants):
    tenants.apply([Tenant("studio", 2.0, LIMITS)], "test")
    assert tenants.get("studio") == Tenant("studio", 2.0, LIMITS)


def test_what_is_not_limited_is_not_in_the_row():
    assert Limits(max_steps=5).to_json() == {"max_steps": 5}


@pytest.mark.parametrize("name", ["green", "", "Red", "red\n", "\0", "\ud800", "x" * 10_000])
def test_a_team_that_was_not_declared_is_none(tenants, name):
    assert tenants.get(name) is None


def test_teams_are_listed_by_name(tenants):
    assert [tenant.name for tenant in tenants.list()] == ["blue", "red"]


def test_applying_tells_what_it_added_and_changed(tenants):
    heavier = Tenant("red", 2.0)
    changes = tenants.apply([heavier, Tenant("blue"), Tenant("green")], "test")
    assert changes == [Change("red", Tenant("red"), heavier), Change("green", None, Tenant("green"))]
    assert [change.kind for change in changes] == ["changed", "added"]


def test_applying_twice_changes_nothing_more(tenants, actions):
    before = actions()
    assert tenants.apply([Tenant("red"), Tenant("blue")], "test") == []
    assert actions() == before


def test_a_team_that_is_not_in_the_file_stays(tenants):
    tenants.apply([Tenant("red")], "test")
    assert tenants.get("blue") == Tenant("blue")


def test_pruning_removes_it(tenants, actions):
    (change,) = tenants.apply([Tenant("red")], "test", prune=True)
    assert (change.name, change.kind) == ("blue", "removed")
    assert tenants.get("blue") is None
    assert actions("blue")[0] == "tenant.removed"


def test_comparing_changes_nothing(tenants: Tenants):
    declared = [replace(Tenant("red"), weight=3.0)]
    expected = tenants.compare(declared, prune=True)
    assert [change.kind for change in expected] == ["changed", "removed"]
    assert [tenant.weight for tenant in tenants.list()] == [1.0, 1.0]
    assert tenants.apply(declared, "test", prune=True) == expected


def test_a_team_may_be_declared_again(tenants):
    tenants.apply([Tenant("red")], "test", prune=True)
    tenants.apply([Tenant("blue", 5.0)], "test")
    assert tenants.get("blue") == Tenant("blue", 5.0)


def test_a_removed_teams_name_is_remembered(tenants):
    tenants.apply([], "test", prune=True)
    assert (tenants.list(), tenants.ever()) == ([], {"red", "blue"})


def test_the_audit_log_has_what_was_and_what_is(tenants, audit):
    tenants.apply([Tenant("red", 2.0, Limits(max_steps=9))], "shell:eve")
    entry = audit.page("red", None, 1).entries[0]
    assert (entry.actor, entry.action) == ("shell:eve", "tenant.changed")
    assert entry.data["before"] == {"weight": 1.0, "limits": {}}
    assert entry.data["after"] == {"weight": 2.0, "limits": {"max_steps": 9}}


def test_all_of_a_file_is_applied_or_nothing(tenants, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("serve.tenancy.tenants.record", fail)
    with pytest.raises(RuntimeError):
        tenants.apply([Tenant("green")], "test")
    assert tenants.get("green") is None
