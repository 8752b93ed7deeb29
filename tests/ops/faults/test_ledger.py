from __future__ import annotations

import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from ops.faults import ledger
from ops.faults.ledger import Ledger
from serve.client import ClientError


class Gone:
    """A platform that accepts a job and is never heard of again."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def submit(self, *_: object, **__: object) -> Any:
        return SimpleNamespace(id="job_1")

    def job(self, job_id: str) -> Any:
        self.asked.set()
        raise ClientError(f"nobody knows of {job_id}")


@pytest.mark.parametrize("allowed", [0, 1])
def test_a_campaign_that_breaks_leaves_nobody_who_asks(allowed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = Gone()
    monkeypatch.setattr(ledger, "Client", lambda *_, **__: nullcontext(platform))
    asking = Ledger("http://127.0.0.1:9", "cn_a_b", "http://127.0.0.1:9", 2, b"")
    with asking:
        asking.allow(allowed)
        assert platform.asked.wait(30 * allowed) == bool(allowed)
    for thread in asking._threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in asking._threads)
