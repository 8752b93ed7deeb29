from __future__ import annotations

import base64
import json
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from serve.config import Settings
from serve.webhooks import sign

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def settings(folder: Path, **fields: str) -> Settings:
    return Settings(data_dir=folder, _env_file=None, **fields)


def test_the_reference_implementation_makes_the_same_signature() -> None:
    """With the identifiers and the body of the specification's own tests."""
    at, body = 1614265330, b'{"test": 2432232314}'
    theirs = Webhook(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(at, UTC), body.decode())
    assert sign.headers(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body)["Webhook-Signature"] == theirs


def test_the_example_of_the_specification_is_signed_as_there() -> None:
    headers = sign.headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "Webhook-Timestamp": "1614265330",
        "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.fixture
def signed() -> tuple[bytes, Mapping[str, str]]:
    body = json.dumps({"type": "job.succeeded"}).encode()
    return body, sign.headers(SECRET, "dlv_1", datetime.now(UTC).timestamp(), body)


def test_a_receiver_accepts_it(signed: tuple[bytes, Mapping[str, str]]) -> None:
    body, headers = signed
    assert Webhook(SECRET).verify(body, dict(headers)) == {"type": "job.succeeded"}


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp"])
def test_a_receiver_refuses_another_header(signed: tuple[bytes, Mapping[str, str]], name: str) -> None:
    body, headers = signed
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, {**headers, name: str(int(datetime.now(UTC).timestamp()) + 1)})


def test_a_receiver_refuses_another_body(signed: tuple[bytes, Mapping[str, str]]) -> None:
    body, headers = signed
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", dict(headers))


def test_a_team_cannot_sign_for_another(signed: tuple[bytes, Mapping[str, str]]) -> None:
    body, _ = signed
    secrets = [sign.tenant_secret(SECRET, tenant) for tenant in ("red", "blue")]
    forged = sign.headers(secrets[0], "dlv_1", datetime.now(UTC).timestamp(), body)
    Webhook(secrets[0]).verify(body, dict(forged))
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets[1]).verify(body, dict(forged))


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_not base64!",
        "whsec_c2hvcnQ=",
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
        base64.b64encode(b"k" * 32).decode(),
    ],
)
def test_a_malformed_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="CN_WEBHOOK_SECRET must be whsec_") as caught:
        sign.key(secret)
    assert not secret or secret == "whsec_" or secret not in str(caught.value)


def test_the_secret_of_the_settings_is_used(tmp_path: Path) -> None:
    assert sign.master_secret(settings(tmp_path, webhook_secret=SECRET)) == SECRET
    assert list(tmp_path.iterdir()) == []


def test_without_one_a_secret_is_made_and_kept(tmp_path: Path) -> None:
    made = sign.master_secret(settings(tmp_path / "data"))
    assert len(sign.key(made)) == 32
    assert sign.master_secret(settings(tmp_path / "data")) == made
    assert sign.master_secret(settings(tmp_path / "other")) != made


def test_a_kept_secret_is_its_owners(tmp_path: Path) -> None:
    sign.master_secret(settings(tmp_path))
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_whoever_comes_second_takes_the_secret_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "webhook-secret").write_text(SECRET)
    monkeypatch.setattr(Path, "exists", lambda self: False)  # looked a moment before the first was done
    assert sign.master_secret(settings(tmp_path)) == SECRET
    assert [file.name for file in tmp_path.iterdir()] == ["webhook-secret"]
