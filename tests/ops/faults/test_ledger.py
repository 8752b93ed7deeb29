from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
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
    platform, pauses = Gone(), []

    def client(*_: object, sleep: Callable[[float], object], **__: object) -> AbstractContextManager[Gone]:
        pauses.append(sleep)
        return nullcontext(platform)

    monkeypatch.setattr(ledger, "Client", client)
    asking = Ledger("http://127.0.0.1:9", "cn_a_b", "http://127.0.0.1:9", 2, b"")
    with asking:
        asking.allow(allowed)
        assert platform.asked.wait(30 * allowed) == bool(allowed)
    assert all(pause(60.0) for pause in pauses)  # at once
    for thread in asking._threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in asking._threads)
