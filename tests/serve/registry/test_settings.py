"""Which registry the settings name, before it is asked anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serve.config import Settings
from serve.registry.registry import Registry


def test_settings_without_a_server_keep_artifacts_in_the_data_folder(tmp_path: Path) -> None:
    registry = Registry.from_settings(Settings(data_dir=tmp_path, model="demo"))
    assert (registry.name, registry._artifact_root) == ("demo", tmp_path / "mlruns")


def test_settings_with_a_server_leave_artifacts_to_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, mlflow_tracking_uri="http://mlflow:5000")
    assert Registry.from_settings(settings)._artifact_root is None


@pytest.mark.parametrize("name", ["", "a/b", "a'b", "a:b", ".."])
def test_a_name_that_would_break_out_of_a_uri_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="model name"):
        Registry("sqlite://", name)


def test_mlflow_is_imported_when_it_is_asked_something() -> None:
    code = "import sys, serve.registry.reconciler; sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
