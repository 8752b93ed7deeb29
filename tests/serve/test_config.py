from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve.config import Settings


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_PORT", "8123")
    monkeypatch.setenv("CN_MAX_ROWS", "8")
    settings = Settings()
    assert (settings.port, settings.max_rows) == (8123, 8)


def test_a_file_of_the_folder_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CN_PORT=8123\n")
    monkeypatch.chdir(tmp_path)
    assert Settings().port == 8123


@pytest.mark.parametrize("port", [0, 65536])
def test_a_port_is_one_of_65535(port: int) -> None:
    with pytest.raises(ValidationError, match="port"):
        Settings(port=port)


def test_embedded_defaults_live_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.database_url == f"sqlite:///{tmp_path}/jobs.db"
    assert settings.artifacts_url == f"file://{tmp_path}/artifacts"
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"host": "10.0.0.5", "port": 80}, "http://10.0.0.5:80"),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:8000"),
        ({"url": "https://images.example.com"}, "https://images.example.com"),
    ],
)
def test_the_api_is_on_this_machine_or_where_it_is_said_to_be(fields: dict[str, Any], url: str) -> None:
    assert Settings(**fields, _env_file=None).api_url == url


def test_hosts_of_webhooks_are_a_list_and_none_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().webhook_hosts == ()
    monkeypatch.setenv("CN_WEBHOOK_HOSTS", '["hooks.example.com", "*.example.org"]')
    assert Settings().webhook_hosts == ("hooks.example.com", "*.example.org")


@pytest.mark.parametrize(
    "host", ["hooks.example.com", "*.example.com", "a.test:8443", "localhost", "[::1]:9000", "10.0.0.1"]
)
def test_a_host_of_webhooks_may_be(host: str) -> None:
    assert Settings(webhook_hosts=(host,)).webhook_hosts == (host,)


@pytest.mark.parametrize(
    "host", ["", "*", "https://hooks.example.com", "hooks.example.com/x", "a b", "*example.com", "::1"]
)
def test_a_host_of_webhooks_that_could_match_nothing_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match="is no host"):
        Settings(webhook_hosts=(host,))


@pytest.mark.parametrize(
    ("samplers", "rows"),
    [(1, 18), (4, 72)],
)
def test_a_dispatcher_claims_what_running_samplers_hold_and_an_eighth_more(samplers: int, rows: int) -> None:
    assert Settings(max_rows=16).claimed_rows(samplers) == rows


@pytest.mark.parametrize(
    "fields",
    [
        {"sampler_replicas": (2, 1)},
        {"sampler_replicas": (0, 0)},
        {"sampler_replicas": (-1, 1)},
        {"imaging_replicas": (0, 1)},
    ],
)
def test_replicas_are_a_range(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="choose the fewest"):
        Settings(**fields)


def test_there_may_be_no_sampler_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_SAMPLER_REPLICAS", "[0, 2]")
    assert Settings().sampler_replicas == (0, 2)


def test_the_last_sampler_does_not_go_before_the_others() -> None:
    with pytest.raises(ValidationError, match="scale_to_zero_after is 5"):
        Settings(scale_down_after=10, scale_to_zero_after=5)


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(Settings(webhook_secret="hush", key="hush"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_requests_without_a_key_are_for_this_machine(host: str) -> None:
    assert Settings(anonymous="dev", host=host, _env_file=None).anonymous == "dev"
    assert Settings(_env_file=None).anonymous is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "api.example.com"])
def test_and_for_no_other(host: str) -> None:
    with pytest.raises(ValidationError, match=r"anonymous is 'dev'.*choose a loopback address"):
        Settings(anonymous="dev", host=host, _env_file=None)


@pytest.mark.parametrize("issuer", ["https://login.microsoftonline.com/t/v2.0", "http://127.0.0.1:9400"])
def test_an_issuer_of_tokens_is_https_or_here(issuer: str) -> None:
    assert Settings(oidc_issuer=issuer, oidc_audience="cn", _env_file=None).oidc_issuer == issuer


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"oidc_issuer": "http://issuer.test", "oidc_audience": "cn"}, "must be https"),
        ({"oidc_issuer": "issuer.test", "oidc_audience": "cn"}, "must be https"),
        ({"oidc_issuer": "https://", "oidc_audience": "cn"}, "must be https"),
        ({"oidc_issuer": "https://issuer.test"}, "go together"),
        ({"oidc_audience": "cn"}, "go together"),
    ],
)
def test_an_issuer_that_proves_nothing_is_refused(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**fields, _env_file=None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_rows": 12}, "max_rows is 12: choose a power of two"),
        ({"pinned_rows": 3}, "pinned_rows is 3: choose a power of two"),
        ({"pinned_rows": 8, "max_rows": 4}, "pinned_rows is 8: choose at most max_rows, which is 4"),
        ({"lease": 0.0}, "lease"),
    ],
)
def test_settings_that_could_not_work_are_refused_by_name(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**fields)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [({}, ("demo",)), ({"host": "0.0.0.0"}, ()), ({"host": "0.0.0.0", "operators": ("ops",)}, ("ops",))],
)
def test_operators_are_named_where_strangers_can_ask(given: dict[str, Any], wanted: tuple[str, ...]) -> None:
    assert Settings(_env_file=None, **given).operating_tenants == wanted
