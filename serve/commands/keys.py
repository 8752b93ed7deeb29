"""`cnserve keys`: the keys of every team, for the operator. Admins of a team have `/v1/keys` for theirs."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from serve.commands.operator import Books, actor, books, console, seconds
from serve.errors import InvalidRequest, NotFound
from serve.tenancy.keys import NewKey
from serve.tenancy.principal import ROLES, Role

app = typer.Typer(no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="Id of a key: what is between `cn_` and the next `_`.")]


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(help="Name of the team.")],
    role: Annotated[str, typer.Option(help=f"Role of whoever has the key: {', '.join(ROLES)}.")] = "member",
    name: Annotated[str, typer.Option(help="Words for people: who or what uses the key.")] = "",
    expires_in: Annotated[str | None, typer.Option(help="Lifetime: 90d, 12h, 30m; no end when absent.")] = None,
) -> None:
    """Make a key and print it, alone, for scripts. It is not shown again."""
    lifetime_s = None if expires_in is None else _at_least_a_second(seconds(expires_in))
    with books("change") as found:
        _tell(found.keys.create(tenant, _role(role), name or f"by {actor()}", actor(), lifetime_s))


@app.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Argument(help="Name of a team; all teams when absent.")] = None,
) -> None:
    """Show the keys that open something."""
    table = Table(Column("key", no_wrap=True), "tenant", "role", "name", "created", "expires", box=None)
    with books("read") as found:
        names = [tenant] if tenant is not None else [team.name for team in found.tenants.list()]
        for key in (key for name in names for key in found.keys.list(name)):
            expires = "never" if key.expires_at is None else _time(key.expires_at)
            table.add_row(key.id, key.tenant, key.role, Text(key.name), _time(key.created_at), expires)
    console.print(table)


@app.command()
def rotate(
    key: KeyId,
    grace: Annotated[str, typer.Option(help="Time for which the old key stays good: 1h, 30m.")] = "0s",
) -> None:
    """Replace a key by a new one and print that, alone. Without a grace the old one opens nothing from now on."""
    grace_s = seconds(grace)
    with books("change") as found:
        _tell(found.keys.rotate(_tenant_of(found, key), key, actor(), grace_s))


@app.command()
def revoke(key: KeyId) -> None:
    """Revoke a key: it opens nothing from the next request on."""
    with books("change") as found:
        tenant = _tenant_of(found, key)
        found.keys.revoke(tenant, key, actor())
    console.print(f"{key} of {tenant} is revoked", markup=False, highlight=False)


def _tell(new: NewKey) -> None:
    console.print(new.text, markup=False, highlight=False, soft_wrap=True)


def _tenant_of(found: Books, key: str) -> str:
    tenant = found.keys.tenant_of(key)
    if tenant is None:
        raise NotFound("There is no such key.")
    return tenant


def _role(text: str) -> Role:
    for role in ROLES:
        if role == text:
            return role
    raise InvalidRequest(f"{text!r} is not one of {', '.join(ROLES)}.", field="role")


def _at_least_a_second(lifetime_s: float) -> float:
    if lifetime_s < 1:
        raise typer.BadParameter("A key that expires at once opens nothing.", param_hint="--expires-in")
    return lifetime_s


def _time(epoch_s: float) -> str:
    return datetime.datetime.fromtimestamp(epoch_s).isoformat(sep=" ", timespec="minutes")
