"""The rig around a `cnserve` that is a line of shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.faults.rig import Rig


def test_the_callers_settings_are_not_the_platforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_MLFLOW_TRACKING_URI", "https://models.example.com")
    monkeypatch.setenv("CN_PORT", "1")
    environment = Rig(tmp_path, settings={"CN_LEASE": "6"}).environment
    assert "CN_MLFLOW_TRACKING_URI" not in environment
    assert (environment["CN_LEASE"], environment["CN_PORT"] == "1") == ("6", False)
