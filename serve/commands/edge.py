"""The edge of the commands: what an operator has to change is a sentence and exit code 1, whichever command met it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import typer
from rich.console import Console

from serve.config import MLFLOW, Settings, given_variables, read_settings, unknown_variables
from serve.errors import OperatorError, Overloaded, ServeError


def settings() -> Settings:
    """Those of the environment; what only looks like one of them is told on standard error.

    Raises:
        WrongSettings: They can't be used.
    """
    for line in unknown_variables(given_variables()):
        _say(line, "yellow", stderr=True)
    return read_settings()


def require_registry(settings: Settings) -> None:
    """Refuse to look into a registry that nobody has made, instead of making it.

    Raises:
        OperatorError: The data folder has none, and no other is set.
    """
    if settings.mlflow_tracking_uri is None and not (settings.data_dir / MLFLOW).is_file():
        raise OperatorError(
            f"There is no registry in {settings.data_dir.resolve()}: set CN_DATA_DIR to the platform's folder, "
            "or run `cnserve up`"
        )


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """What can't be done is told as its sentence, not as a traceback."""
    try:
        yield
    except Overloaded as error:  # of the database, whose own words name the server, or say that the disk is full
        reason = f" ({str(error.__cause__).strip().splitlines()[0]}; CN_DATABASE names it)" if error.__cause__ else ""
        _fail(f"{error}{reason}", error)
    except (OperatorError, ServeError, OSError) as error:
        _fail(str(error), error)
    except Exception as error:
        # SQLAlchemy is a second of work that most commands do without: where it raised this, it is there.
        database = sys.modules.get("sqlalchemy.exc")
        if database is None or not isinstance(error, database.SQLAlchemyError):
            raise
        _fail(f"The database can't be used: {getattr(error, 'orig', None) or error}", error)


def _fail(text: str, error: Exception) -> None:
    _say(text, "red")
    raise typer.Exit(1) from error


def _say(text: str, style: str, stderr: bool = False) -> None:
    # A path that is cut in two cannot be copied.
    Console(stderr=stderr).print(text, style=style, markup=False, highlight=False, soft_wrap=True)
