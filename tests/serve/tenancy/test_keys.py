from __future__ import annotations

import hashlib
import hmac

import pytest
import sqlalchemy as sa

from serve.errors import Conflict, NotFound
from serve.jobs.schema import keys as table
from serve.tenancy.keys import KEY, MOST_KEYS, Keys
from serve.tenancy.principal import Principal
from serve.tenancy.tenants import Limits, Tenant


@pytest.fixture
def make(keys):
    def make(tenant="red", role="member", **how):
        return keys.create(tenant, role, "for tests", "test", **how)

    return make


def opens(keys: Keys, text: str) -> bool:
    holder = keys.holder(text)
    return holder is not None and not holder.expired


def test_a_key_tells_whose_it_is(keys, make, tenants):
    tenants.apply([Tenant("red", 2.0, Limits(max_steps=9))], "test")
    new = make(role="viewer")
    holder = keys.holder(new.text)
    assert holder.principal == Principal("red", "viewer", f"key:{new.key.id}", Limits(max_steps=9))
    assert not holder.expired


def test_a_key_reads_one_way(make):
    new = make()
    match = KEY.fullmatch(new.text)
    assert match["id"] == new.key.id
    assert new.text.count("_") == 2


def test_a_secret_has_256_bits(engine, clock, tenants):
    asked = []

    def zeros(count):
        asked.append(count)
        return bytes(count)

    text = Keys(engine, clock, zeros).create("red", "member", "n", "test").text
    assert asked[1] == 32
    assert text == f"cn_{'a' * 10}_{'a' * 52}"


def test_no_two_keys_are_alike(make):
    assert len({make().text for _ in range(20)}) == 20


def test_the_database_has_a_hash_and_not_the_secret(make, engine):
    secret = KEY.fullmatch(make().text)["secret"]
    with engine.connect() as connection:
        row = connection.execute(sa.select(table)).one()
    assert row.hash == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in str(tuple(row))


def test_a_new_key_does_not_show_itself(make):
    new = make()
    assert new.text not in repr(new)


@pytest.mark.parametrize("change", [lambda t: t[:-1] + ("a" if t[-1] != "a" else "b"), lambda t: t[:-1], str.upper])
def test_a_key_that_is_not_quite_it_is_nobodys(keys, make, change):
    assert keys.holder(change(make().text)) is None


def test_one_keys_secret_does_not_open_another(keys, make):
    one, other = make().text, make("blue").text
    assert keys.holder(one[:14] + other[14:]) is None


def test_an_unknown_id_is_compared_too(keys, monkeypatch):
    """So that time does not tell which ids there are."""
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or True)
    assert keys.holder(f"cn_{'b' * 10}_{'c' * 52}") is None
    assert compared == [(64, 64)]


def test_a_revoked_key_opens_nothing_from_then_on(keys, make):
    new = make()
    assert opens(keys, new.text)
    keys.revoke("red", new.key.id, "test")
    assert keys.holder(new.text) is None


def test_revoking_twice_is_revoking_once(keys, make, clock, actions):
    new = make()
    first = keys.revoke("red", new.key.id, "test")
    clock.advance(5)
    assert keys.revoke("red", new.key.id, "test") == first
    assert actions().count("key.revoked") == 1


def test_a_key_is_good_until_it_expires(keys, make, clock):
    text = make(expires_in_s=60).text
    clock.advance(59.9)
    assert opens(keys, text)
    clock.advance(0.1)
    assert keys.holder(text).expired


def test_a_removed_teams_keys_open_nothing(keys, make, tenants):
    text = make().text
    tenants.apply([Tenant("blue")], "test", prune=True)
    assert keys.holder(text) is None


def test_nor_when_the_team_is_declared_again(keys, make, tenants):
    text = make().text
    tenants.apply([Tenant("blue")], "test", prune=True)
    tenants.apply([Tenant("red")], "test")
    assert keys.holder(text) is None


def test_a_team_that_is_not_there_gets_no_key(keys, tenants):
    tenants.apply([Tenant("blue")], "test", prune=True)
    for name in ("red", "green"):
        with pytest.raises(NotFound, match=name):
            keys.create(name, "member", "n", "test")


def test_keys_that_open_something_are_listed(keys, make, clock):
    revoked, expired, good = make(), make(expires_in_s=1), make(role="admin")
    make("blue")
    keys.revoke("red", revoked.key.id, "test")
    clock.advance(2)
    assert keys.list("red") == [good.key]
    assert expired.key not in keys.list("red")


def test_a_rotated_key_is_replaced_at_once(keys, make):
    old = make(role="viewer")
    new = keys.rotate("red", old.key.id, "test")
    assert keys.holder(old.text) is None
    assert keys.holder(new.text).principal.role == "viewer"
    assert (new.key.name, new.key.id != old.key.id) == ("for tests", True)


def test_the_old_key_may_stay_good_for_a_while(keys, make, clock):
    old = make()
    new = keys.rotate("red", old.key.id, "test", grace_s=60)
    clock.advance(59)
    assert opens(keys, old.text)
    clock.advance(1)
    assert not opens(keys, old.text)
    assert opens(keys, new.text)


def test_but_not_longer_than_it_was_to_live(keys, make, clock):
    old = make(expires_in_s=10)
    keys.rotate("red", old.key.id, "test", grace_s=60)
    clock.advance(10)
    assert not opens(keys, old.text)


def test_the_new_key_lives_as_long_as_the_old_one_was_to(keys, make, clock):
    old = make(expires_in_s=100)
    clock.advance(90)
    assert keys.rotate("red", old.key.id, "test").key.expires_at == clock() + 100


def test_a_key_that_opens_nothing_is_not_rotated(keys, make, clock):
    revoked, expired = make(), make(expires_in_s=1)
    keys.revoke("red", revoked.key.id, "test")
    clock.advance(1)
    for old in (revoked, expired):
        with pytest.raises(NotFound):
            keys.rotate("red", old.key.id, "test")


@pytest.mark.parametrize("act", ["rotate", "revoke"])
@pytest.mark.parametrize("key_id", [None, "b" * 10, "", "'; --", "\0", "é" * 10])
def test_another_teams_key_is_as_unknown_as_none(keys, make, act, key_id):
    theirs = make("blue")
    with pytest.raises(NotFound, match="no such key"):
        getattr(keys, act)("red", theirs.key.id if key_id is None else key_id, "test")
    assert opens(keys, theirs.text)


def test_a_team_has_so_many_keys_and_no_more(keys, make):
    first = make()
    for _ in range(MOST_KEYS - 1):
        make()
    with pytest.raises(Conflict, match=str(MOST_KEYS)):
        make()
    keys.revoke("red", first.key.id, "test")
    make()


def test_each_action_is_in_the_audit_log_without_the_secret(keys, make, audit):
    old = make(role="admin")
    new = keys.rotate("red", old.key.id, "key:x")
    keys.revoke("red", new.key.id, "key:y")
    found = audit.page("red", None, 3).entries
    assert [(entry.action, entry.actor) for entry in found] == [
        ("key.revoked", "key:y"),
        ("key.rotated", "key:x"),
        ("key.created", "test"),
    ]
    assert [entry.data["id"] for entry in found] == [new.key.id, new.key.id, old.key.id]
    assert found[1].data["replaces"] == old.key.id
    assert not [entry for entry in found if old.text[14:] in str(entry) or new.text[14:] in str(entry)]


@pytest.mark.parametrize("act", ["create", "rotate", "revoke"])
def test_what_can_not_be_logged_is_not_done(keys, make, monkeypatch, act):
    old = make()

    def fail(*_):
        raise RuntimeError("no")

    monkeypatch.setattr("serve.tenancy.keys.record", fail)
    arguments = ("red", "member", "n", "test") if act == "create" else ("red", old.key.id, "test")
    with pytest.raises(RuntimeError):
        getattr(keys, act)(*arguments)
    assert keys.list("red") == [old.key]


def test_the_operator_finds_whose_a_key_is(keys, make):
    assert keys.tenant_of(make("blue").key.id) == "blue"
    assert keys.tenant_of("b" * 10) is None


def test_the_next_key_that_somebody_must_replace_is_told(keys, make, clock):
    days = 24 * 3600.0
    make(expires_in_s=1 * days)  # made for a day: it ends as it was meant to
    make()
    assert keys.next_expiry() is None
    make(expires_in_s=90 * days)
    make(expires_in_s=30 * days)
    assert keys.next_expiry() == clock.now + 30 * days
