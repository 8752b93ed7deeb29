"""What the chart hands to KubeRay, handed to a real Ray as KubeRay does it: by its REST API, with a token."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import end
from tests.infra.charts import Charts, Missing, images, terraform

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("alone")]

ROOT = Path(__file__).parents[2]
WITHIN_S = 280.0  # the machine may be shared
TOKEN = "0123456789abcdef" * 4
HEAD = """
import sys, ray
from serve.deployments.node import start_node
node = start_node(256 << 20, {"pixels": 1, "sampling": 1}, dashboard=True)
print(ray.init(address=node.address, log_to_driver=False).dashboard_url, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def configuration(tmp_path):
    try:
        charts = Charts(tmp_path)
    except Missing as missing:
        pytest.skip(f"charts are not rendered: {missing}")
    render = charts.render(charts.file("kind"), terraform(), images())
    config = yaml.safe_load(render.one("RayService", "serving")["spec"]["serveConfigV2"])
    with socket.socket() as free:  # other platforms may run on this machine
        free.bind(("127.0.0.1", 0))
        config["http_options"] = {"host": "127.0.0.1", "port": free.getsockname()[1]}
    return config


@pytest.fixture
def ray_head(tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "CN_DATA_DIR": str(tmp_path / "data"),
        "CN_SAMPLER_GPUS": "0",
    }
    command = [sys.executable, "-W", "ignore", "-c", HEAD]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as head:
        assert head.stdout is not None
        yield f"http://{head.stdout.readline().strip()}"
        end(head)  # and with it Ray


def ask(url, body=None, token=TOKEN):
    """Status and body of an answer."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method="GET" if body is None else "PUT")
    try:
        with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def healthy(proxy):
    try:
        return ask(f"{proxy}/-/healthz")[0] == 200
    except OSError:  # it does not listen yet
        return False


def test_kuberay_finds_the_cluster_ready_and_nobody_finds_a_route_to_the_platform(configuration, ray_head):
    applications = f"{ray_head}/api/serve/applications/"
    assert ask(applications, configuration, token=None)[0] == 401
    assert ask(applications, configuration) == (200, "")
    proxy = f"http://127.0.0.1:{configuration['http_options']['port']}"
    deadline = time.monotonic() + WITHIN_S
    states = {}
    while time.monotonic() < deadline:
        states = {name: found["status"] for name, found in json.loads(ask(applications)[1])["applications"].items()}
        if states == {"controlnet": "RUNNING", "health": "RUNNING"} or "DEPLOY_FAILED" in states.values():
            break
        time.sleep(0.5)  # Ray has no call that waits
    assert states == {"controlnet": "RUNNING", "health": "RUNNING"}
    while not healthy(proxy) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ask(f"{proxy}/-/healthz") == (200, "success")  # KubeRay's question
    assert ask(f"{proxy}/health") == (200, "success")
    assert ask(f"{proxy}/")[0] == 404
    assert json.loads(ask(f"{proxy}/-/routes")[1]) == {"/health": "health"}
