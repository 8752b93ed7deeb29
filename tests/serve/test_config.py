from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from serve.config import Settings, WrongSettings, read_settings, unknown_variables


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
    with pytest.raises(ValidationError, match="CN_SCALE_TO_ZERO_AFTER is 5"):
        Settings(scale_down_after=10, scale_to_zero_after=5)


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(Settings(webhook_secret="hush", key="hush"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_requests_without_a_key_are_for_this_machine(host: str) -> None:
    assert Settings(anonymous="dev", host=host, _env_file=None).anonymous == "dev"
    assert Settings(_env_file=None).anonymous is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "api.example.com"])
def test_and_for_no_other(host: str) -> None:
    with pytest.raises(ValidationError, match=r"CN_ANONYMOUS is 'dev'.*choose a loopback address"):
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
        ({"max_rows": 12}, "CN_MAX_ROWS is 12: choose a power of two"),
        ({"pinned_rows": 3}, "CN_PINNED_ROWS is 3: choose a power of two"),
        ({"pinned_rows": 8, "max_rows": 4}, "CN_PINNED_ROWS is 8: choose at most CN_MAX_ROWS, which is 4"),
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


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("CN_PORT", "http", "CN_PORT is 'http': must be a whole number"),
        ("CN_PORT", "70000", "CN_PORT is '70000': must be at most 65535"),
        ("CN_DEVICE", "gpu", "CN_DEVICE is 'gpu': must be 'auto', 'cpu' or 'cuda'"),
        (
            "CN_SAMPLER_REPLICAS",
            "many",
            "CN_SAMPLER_REPLICAS is 'many': must be JSON, for example CN_SAMPLER_REPLICAS='[1, 4]' or "
            "CN_SAMPLER_REPLICAS='2'",
        ),
        ("CN_OPERATORS", "ops", """CN_OPERATORS is 'ops': must be a list, for example CN_OPERATORS='["studio"]'"""),
        ("CN_OPERATORS", "7", """CN_OPERATORS is 7: must be a list, for example CN_OPERATORS='["studio"]'"""),
        ("CN_MAX_ROWS", "12", "CN_MAX_ROWS is 12: choose a power of two, as the buckets are"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_with_its_value_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings) as caught:
        read_settings()
    assert str(caught.value) == told


def test_every_variable_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_PORT", "0")
    monkeypatch.setenv("CN_LEASE", "-1")
    with pytest.raises(WrongSettings) as caught:
        read_settings()
    assert str(caught.value) == "CN_PORT is '0': must be at least 1\nCN_LEASE is '-1': must be more than 0"


def test_a_secret_that_cannot_be_used_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_ARTIFACTS_OPTIONS", "account_key=hush")
    with pytest.raises(WrongSettings, match="CN_ARTIFACTS_OPTIONS: must be JSON") as caught:
        read_settings()
    assert "hush" not in str(caught.value)


def test_one_number_of_replicas_is_the_fewest_and_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_SAMPLER_REPLICAS", "2")
    assert Settings().sampler_replicas == (2, 2)


def test_a_variable_that_is_no_setting_is_told_with_the_nearest() -> None:
    assert list(unknown_variables({"CN_PROT", "CN_XYZZY_QUUX", "CN_PORT", "cn_host", "PATH"})) == [
        "CN_PROT is no setting and is ignored: did you mean CN_PORT?",
        "CN_XYZZY_QUUX is no setting and is ignored.",
    ]


@pytest.mark.parametrize("name", ["plain", "a b", "a%20b", "what?", "no#1", "größe 日本", "100%"])
def test_a_data_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    settings = Settings(data_dir=tmp_path / name)
    for url, file in ((settings.database_url, "jobs.db"), (settings.tracking_uri, "mlflow.db")):
        assert sa.make_url(url).database == str(tmp_path / name / file)
