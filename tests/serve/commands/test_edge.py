"""What every command does with what it can't do."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
import typer

from serve.commands.edge import sentences, settings
from serve.errors import NotFound, OperatorError
from serve.jobs.database import StoreUnavailable


def told(error: Exception, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(typer.Exit) as caught, sentences():
        raise error
    assert caught.value.exit_code == 1
    return capsys.readouterr().out.rstrip("\n")


def away() -> StoreUnavailable:
    error = StoreUnavailable("The store is not reachable.")
    error.__cause__ = OSError("connection to server at 127.0.0.1 failed\nis it running?")
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OperatorError("CN_PORT is [0]" + " long" * 40), "CN_PORT is [0]" + " long" * 40),
        (NotFound("There is no such key."), "There is no such key."),
        (OSError(28, "No space left on device", "/x"), "[Errno 28] No space left on device: '/x'"),
        (away(), "The store is not reachable. (connection to server at 127.0.0.1 failed; CN_DATABASE names it)"),
        (
            sa.exc.OperationalError("SELECT 1", {}, Exception("attempt to write a readonly database")),
            "The database can't be used: attempt to write a readonly database",
        ),
    ],
)
def test_it_is_a_sentence_in_one_line(error: Exception, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(error, capsys) == words


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), sentences():
        raise ZeroDivisionError


def test_a_variable_that_is_no_setting_is_told_apart_from_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("CN_HOTS=0.0.0.0\n")
    monkeypatch.setenv("CN_PROT", "8101")
    assert settings().port == 8000
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "CN_HOTS is no setting and is ignored: did you mean CN_HOST?",
        "CN_PROT is no setting and is ignored: did you mean CN_PORT?",
    ]
