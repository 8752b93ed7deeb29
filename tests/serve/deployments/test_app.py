"""What Serve is told to run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ray._common.utils import import_attr

from serve.deployments import app
from serve.deployments.dispatcher import Dispatcher
from serve.deployments.imaging import Imaging
from serve.deployments.sampler import Sampler


@pytest.mark.parametrize(
    ("path", "deployed"), [(app.DISPATCHER, Dispatcher), (app.IMAGING, Imaging), (app.SAMPLER, Sampler)]
)
def test_a_path_names_its_deployment(path: str, deployed: type) -> None:
    assert import_attr(path) is deployed


def test_to_say_what_is_to_run_takes_no_model_library() -> None:
    code = "import sys, serve.deployments.ray_service; print({'torch', 'cv2', 'mlflow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
