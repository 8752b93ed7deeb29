from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ops.load.calibration import Target
from ops.load.deeds import ORDER, Deeds
from ops.load.plan import KEYS
from ops.load.teams import write_keys
from tests.ops.load.conftest import FakeApi


class FakeRig:
    """Has one process of each role, which another follows when it is killed."""

    def __init__(self, *, gone: str = "") -> None:
        self.gone, self.pids, self.killed = gone, dict.fromkeys(("api", "imaging", "sampler", "dispatcher"), 1), []

    def kill(self, role: str) -> list[int]:
        if role == self.gone:
            raise RuntimeError(f"there is no {role} to kill")
        self.killed.append(role)
        self.pids[role] += 1
        return [self.pids[role] - 1]

    def processes(self, role: str) -> list[int]:
        return [self.pids[role]]


def do(api: FakeApi, tmp_path: Path, rig: FakeRig, monkeypatch: Any) -> list[tuple[str, str]]:
    """All of them once."""
    monkeypatch.setattr("ops.load.deeds.promote", lambda rig: rig.killed.append("promoted"))
    monkeypatch.setattr("ops.load.deeds.rotate", lambda url, admin, key, grace: f"{key}+{admin}")
    write_keys(tmp_path / "keys.json", {"a": "cn_a", "b": "cn_b"})
    api.answers["GET", "/readyz"] = [(200, "")] * 9
    target, began = Target(api.url, tmp_path / "keys.json", tmp_path), time.monotonic()
    with Deeds(rig, target, {"a": "x", "b": "y"}, 0.01, 0.085, lambda: time.monotonic() - began, print) as deeds:  # type: ignore[arg-type]
        pass
    return [(one.kind, one.failed) for one in deeds.done]


def test_all_are_done_in_turn(api: FakeApi, tmp_path: Path, monkeypatch: Any) -> None:
    rig = FakeRig()
    assert do(api, tmp_path, rig, monkeypatch) == [(kind, "") for kind in ORDER]
    assert rig.killed == ["sampler", "promoted", "api", "imaging", "promoted", "dispatcher"]
    assert KEYS.validate_json((tmp_path / "keys.json").read_bytes()) == {"a": "cn_a+x", "b": "cn_b+y"}


def test_one_that_fails_is_told_and_the_next_is_done(api: FakeApi, tmp_path: Path, monkeypatch: Any) -> None:
    failed = dict(do(api, tmp_path, FakeRig(gone="sampler"), monkeypatch))
    assert "there is no sampler to kill" in failed.pop("kill sampler")
    assert set(failed.values()) == {""}
