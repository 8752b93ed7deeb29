from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ops.faults import guest as module
from ops.faults.guest import guest


@pytest.fixture(autouse=True)
def _ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that can be joined, and a process that can be ended."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=lambda **_: None))
    monkeypatch.setattr(module, "secure_ray", lambda folder: None)
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path))


def test_the_process_ends_with_the_block() -> None:
    with pytest.raises(SystemExit) as ended, guest("127.0.0.1:1"):
        pass
    assert ended.value.code == 0


def test_what_goes_wrong_is_said_and_ends_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, guest("127.0.0.1:1"):
        raise RuntimeError("no such deployment")
    assert ended.value.code == 1
    assert "no such deployment" in capsys.readouterr().err
