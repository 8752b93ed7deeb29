from __future__ import annotations

import httpx
import pytest

from ops.faults import receiver as module
from ops.faults.history import WebhookCall
from ops.faults.receiver import Conduct, Receiver


def call(receiver: Receiver) -> httpx.Response:
    body = {"job": {"id": "job_1", "state": "succeeded"}}
    return httpx.post(receiver.url, json=body, headers={"Webhook-Id": "msg_1"}, timeout=30)


@pytest.mark.parametrize(
    ("conduct", "status", "told"), [("answer", 204, {"job_1"}), ("late", 204, {"job_1"}), ("refuse", 503, set())]
)
def test_a_call_is_written_down_and_answered(
    conduct: Conduct, status: int, told: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATE_S", 0.01)
    with Receiver("press") as receiver:
        receiver.conduct = conduct
        assert call(receiver).status_code == status
        assert receiver.calls == [WebhookCall("press", "msg_1", "job_1", "succeeded", taken=bool(told))]
        assert receiver.told == told


def test_a_call_that_is_not_answered_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANG_S", 0.01)
    with Receiver("press") as receiver:
        receiver.conduct = "hang"
        with pytest.raises(httpx.RemoteProtocolError):
            call(receiver)
        assert receiver.told == set()
        receiver.conduct = "answer"
        call(receiver)
        assert (receiver.told, receiver.repeats) == ({"job_1"}, 1)
