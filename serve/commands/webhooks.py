"""`cnserve webhooks`: what a team needs to trust what it is told."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from serve.config import Settings
from serve.webhooks.sign import master_secret, tenant_secret

app = typer.Typer(no_args_is_help=True)
console = Console()


@app.callback()
def webhooks() -> None:
    """A group, though it has one command so far."""


@app.command()
def secret(
    tenant: Annotated[str, typer.Argument(help="Of which team.")],
) -> None:
    """Print the secret that a team's webhooks are signed with. Give it to that team, and to nobody else."""
    console.print(tenant_secret(master_secret(Settings()), tenant), highlight=False, soft_wrap=True)
