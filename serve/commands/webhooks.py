"""`cnserve webhooks`: what a team needs to trust what it is told."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from serve.commands.edge import settings
from serve.errors import OperatorError
from serve.webhooks.sign import has_secret, master_secret, tenant_secret

app = typer.Typer(no_args_is_help=True)
console = Console()


@app.callback()
def webhooks() -> None:
    """A group, though it has one command so far."""


@app.command()
def secret(
    tenant: Annotated[str, typer.Argument(help="Name of the team.")],
) -> None:
    """Print the secret that a team's webhooks are signed with. Give it to that team, and to nobody else."""
    found = settings()
    if not has_secret(found):
        raise OperatorError(
            f"There is no secret of webhooks in {found.data_dir.resolve()}: set CN_DATA_DIR to the platform's folder, "
            "set CN_WEBHOOK_SECRET, or run `cnserve up`, which makes one."
        )
    try:
        console.print(tenant_secret(master_secret(found), tenant), highlight=False, soft_wrap=True)
    except ValueError as error:
        raise OperatorError(str(error)) from error
