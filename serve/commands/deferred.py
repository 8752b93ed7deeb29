"""Groups of commands whose modules are imported when one of them is called, so that no command waits for another's."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from serve.commands.edge import sentences


def deferred(about: str) -> typer.Typer:
    """What stands for a group until it is called.

    Args:
        about: Help text of the group.
    """
    return typer.Typer(cls=_Stand, help=about)


class Deferred(TyperGroup):
    """Commands and groups; of a group made by `deferred`, `serve.commands.<name>.app` is the one that is called.

    What a command can't do is told as `edge.sentences` tells it.
    """

    # The types are Click's, which Typer keeps to itself.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """The command that the arguments name, and what is left of them."""
        name, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, _Stand):
            group = get_group(import_module(f"serve.commands.{name}").app)
            group.name, group.help = name, command.help
            command = group
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command."""
        with sentences():
            return super().invoke(ctx)


class _Stand(TyperGroup):
    """Tells a group that is not imported yet from others."""
