"""What `cnserve` imports for a command: that, not its work, is what one waits for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serve.cli import app
from serve.config import Settings
from serve.jobs.database import open_database

HEAVY = {"torch", "ray", "mlflow", "transformers", "fastapi", "alembic", "psycopg", "jwt", "numpy", "cv2"}
RUN = """
import json, sys
from serve.cli import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    print(json.dumps([end.code, sorted(name for name in sys.modules if "." not in name)]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("command", "code", "spared"),
    [
        (["--help"], 0, HEAVY | {"sqlalchemy", "httpx"}),
        (["status"], 0, HEAVY | {"httpx"}),
        (["keys", "list"], 0, HEAVY | {"httpx"}),
        (["tenants", "list"], 0, HEAVY | {"httpx"}),
        (["jobs", "list"], 1, HEAVY | {"sqlalchemy"}),
        (["webhooks", "secret", "red"], 1, HEAVY | {"sqlalchemy", "httpx"}),
    ],
)
def test_a_command_imports_what_it_needs(tmp_path: Path, command: list[str], code: int, spared: set[str]) -> None:
    open_database(Settings(data_dir=tmp_path, _env_file=None).database_url).dispose()
    variables = {**os.environ, "CN_DATA_DIR": str(tmp_path), "CN_URL": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command], env=variables, capture_output=True, text=True, check=True
    )
    ended, imported = json.loads(done.stderr.splitlines()[-1])
    assert ended == code, done.stdout
    assert spared.isdisjoint(imported)


@pytest.mark.parametrize("command", [["status"], ["keys", "list"], ["keys", "create", "red"], ["tenants", "list"]])
def test_where_there_is_no_platform_none_is_made(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path / "elsewhere"))
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.output) == (
        1,
        f"There is no platform's data in {tmp_path / 'elsewhere'}: set CN_DATA_DIR to its folder, or run "
        "`cnserve up`\n",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["status"], ["keys", "list"], ["up"]])
def test_settings_that_cannot_be_used_are_a_sentence(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_PORT", "http")
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.output) == (1, "CN_PORT is 'http': must be a whole number\n")
