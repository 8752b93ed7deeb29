"""What must not be said is not said: by settings, by errors, by their tracebacks."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from serve.config import Settings
from serve.jobs.database import StoreUnavailable, open_database
from serve.webhooks.sign import key

SECRET = "hunter2hunter2"
URL = f"postgresql+psycopg://cn:{SECRET}@127.0.0.1:{{port}}/cn"
SECRETS = {
    "database": URL.format(port=5432),
    "artifacts": f"az://cn/?sas={SECRET}",
    "artifacts_options": f'{{"account_key": "{SECRET}"}}',
    "mlflow_tracking_uri": f"https://cn:{SECRET}@mlflow.example.com",
    "webhook_secret": f"whsec_{SECRET}",
    "key": f"cn_id_{SECRET}",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"CN_{name.upper()}", value)


@pytest.fixture
def closed() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def told(call: Callable[[], object], kind: type[Exception]) -> str:
    """All that a log would hold of an error: itself and what caused it, as a traceback."""
    with pytest.raises(kind) as caught:
        call()
    return "".join(traceback.format_exception(caught.value))


@pytest.mark.usefixtures("environment")
def test_settings_show_none() -> None:
    settings = Settings(_env_file=None)
    assert SECRET in settings.database_url  # the secrets are there
    assert SECRET not in f"{settings!r} {settings}"


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("wrong", ["max_rows", "port", "webhook_hosts", "sampler_replicas"])
def test_settings_that_are_refused_show_none(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    value = {"max_rows": "12", "webhook_hosts": '["a b"]', "sampler_replicas": '["x"]'}.get(wrong, "no number")
    monkeypatch.setenv(f"CN_{wrong.upper()}", value)
    assert SECRET not in told(lambda: Settings(_env_file=None), ValidationError)


def test_a_database_that_is_away_is_told_of_without_its_password(closed: int) -> None:
    assert SECRET not in told(lambda: open_database(URL.format(port=closed)), StoreUnavailable)


def test_a_database_of_another_kind_is_told_of_without_its_password() -> None:
    assert SECRET not in told(lambda: open_database(f"mysql://cn:{SECRET}@host/cn"), ValueError)


def test_a_webhook_secret_that_is_none_is_not_repeated() -> None:
    assert SECRET not in told(lambda: key(f"whsec_{SECRET}!"), ValueError)
