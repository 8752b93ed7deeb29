from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serve.cli import app
from serve.config import Settings
from serve.jobs.database import open_database
from serve.tenancy.tenancy import Tenancy
from serve.tenancy.tenants import Tenant


@pytest.fixture(autouse=True)
def tenancy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """With the teams red and blue."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("LOGNAME", "eve")
    settings = Settings()
    engine = open_database(settings.database_url)
    tenancy = Tenancy.over(engine, settings)
    tenancy.tenants.apply([Tenant("red"), Tenant("blue")], "test")
    yield tenancy
    engine.dispose()


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def made(*arguments: str) -> str:
    result = keys(*arguments)
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"cn_[a-z2-7]{10}_[a-z2-7]{52}\n", result.output)
    return result.output.strip()


def test_a_key_is_printed_alone(tenancy):
    holder = tenancy.keys.holder(made("create", "red", "--role", "viewer"))
    assert (holder.principal.tenant, holder.principal.role) == ("red", "viewer")


def test_it_may_expire(tenancy):
    made("create", "red", "--expires-in", "90d", "--name", "the site")
    (key,) = tenancy.keys.list("red")
    assert (key.expires_at - key.created_at, key.name) == (90 * 86400, "the site")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["create", "green"], 1, "There is no team green."),
        (["create", "red", "--role", "root"], 1, "'root' is not one of viewer, member, admin."),
        (["create", "red", "--expires-in", "soon"], 2, "is not a duration"),
        (["create", "red", "--expires-in", "0s"], 2, "opens nothing"),
        (["rotate", "b" * 10], 1, "There is no such key."),
        (["rotate", "b" * 10, "--grace", "1"], 2, "is not a duration"),
        (["revoke", "b" * 10], 1, "There is no such key."),
    ],
)
def test_what_can_not_be_is_told(arguments, code, told):
    result = keys(*arguments)
    assert result.exit_code == code
    assert told in result.output


def test_a_key_is_rotated(tenancy):
    old = made("create", "red")
    new = made("rotate", old[3:13])
    assert tenancy.keys.holder(old) is None
    assert tenancy.keys.holder(new) is not None


def test_a_key_is_rotated_with_a_grace(tenancy):
    old = made("create", "red")
    made("rotate", old[3:13], "--grace", "1h")
    assert not tenancy.keys.holder(old).expired


def test_a_key_is_revoked(tenancy):
    key = made("create", "red")
    assert keys("revoke", key[3:13]).output == f"{key[3:13]} of red is revoked\n"
    assert tenancy.keys.holder(key) is None


def test_keys_are_listed_without_secrets(tenancy):
    red, blue = made("create", "red", "--name", "[red] site"), made("create", "blue")
    everybodys, reds = keys("list").output, keys("list", "red").output
    assert red[3:13] in everybodys
    assert blue[3:13] in everybodys
    assert "[red] site" in reds
    assert blue[3:13] not in reds
    assert red[14:] not in everybodys


def test_ids_are_whole_on_a_line_of_80(tenancy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    key = made("create", "red", "--name", "a long name of what uses it " * 4, "--expires-in", "90d")
    assert key[3:13] in keys("list").output


def test_the_audit_log_says_who_sat_at_the_shell(tenancy):
    key = made("create", "red")
    keys("revoke", key[3:13])
    entries = tenancy.audit.page("red", None, 2).entries
    assert [(entry.action, entry.actor) for entry in entries] == [
        ("key.revoked", "shell:eve"),
        ("key.created", "shell:eve"),
    ]
