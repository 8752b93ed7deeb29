from __future__ import annotations

import pytest

from serve.tenancy.demo import FILE, kept_key, ready_key
from serve.tenancy.keys import Keys
from serve.tenancy.tenants import Tenant, Tenants


@pytest.fixture
def bare(engine, clock):
    """No team was ever declared."""
    return Tenants(engine, clock), Keys(engine, clock)


def test_where_there_is_no_team_a_key_of_demo_is_made(bare, tmp_path):
    holder = bare[1].holder(ready_key(*bare, tmp_path))
    assert (holder.principal.tenant, holder.principal.role) == ("demo", "admin")


def test_only_its_owner_can_read_the_file(bare, tmp_path):
    ready_key(*bare, tmp_path)
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir() if FILE in path.name] == [
        (FILE, 0o600)
    ]


def test_a_restart_has_the_same_key(bare, tmp_path):
    first = ready_key(*bare, tmp_path)
    assert ready_key(*bare, tmp_path) == first == kept_key(tmp_path)
    assert len(bare[1].list("demo")) == 1


def test_a_key_that_was_revoked_is_replaced(bare, tmp_path):
    first = ready_key(*bare, tmp_path)
    bare[1].revoke("demo", bare[1].list("demo")[0].id, "test")
    second = ready_key(*bare, tmp_path)
    assert second != first
    assert bare[1].holder(second) is not None


def test_another_folder_gets_a_key_of_its_own(bare, tmp_path):
    assert ready_key(*bare, tmp_path / "a") != ready_key(*bare, tmp_path / "b")


def test_where_teams_were_declared_none_is_made(bare, tmp_path):
    bare[0].apply([Tenant("red")], "test")
    assert ready_key(*bare, tmp_path) is None
    assert bare[0].get("demo") is None


def test_nor_where_they_were_removed(bare, tmp_path):
    bare[0].apply([Tenant("red")], "test")
    bare[0].apply([], "test", prune=True)
    assert ready_key(*bare, tmp_path) is None


def test_the_key_that_is_kept_goes_on_beside_other_teams(bare, tmp_path):
    first = ready_key(*bare, tmp_path)
    bare[0].apply([Tenant("red")], "test")
    assert ready_key(*bare, tmp_path) == first


def test_where_none_is_kept_there_is_none(tmp_path):
    assert kept_key(tmp_path) is None
