"""A real Prometheus with the shipped configuration, on ports and folders of a test's."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from ops.services import Missing
from serve.deployments.ground import free_ports

SCRAPED_EVERY_S = 5
"""And a scrape may take as long: Ray's agent needs a processor second for one, and the core may be shared."""

SHIPPED = Path(__file__).parents[1] / "ops" / "prometheus"


class Prometheus:
    """What is shipped, but that it looks more often, and at these targets.

    Args:
        folder: For its data.
        api: `host:port` of the api's metrics.
        ray_targets: The file in which Ray names its own.
    """

    def __init__(self, folder: Path, api: str, ray_targets: Path) -> None:
        program = shutil.which("prometheus")
        if program is None:
            raise Missing("prometheus is not installed: make services")
        config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": f"{SCRAPED_EVERY_S}s", "evaluation_interval": "2s"}
        config["rule_files"] = [str(SHIPPED / "rules" / "*.yml")]
        of_api, of_ray = config["scrape_configs"]
        of_api["static_configs"] = [{"targets": [api]}]
        of_ray["file_sd_configs"] = [{"files": [str(ray_targets)]}]
        folder.mkdir()
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        # The kernel ends it with its parent, however that ends.
        self._command = ["setpriv", "--pdeathsig=KILL", program, f"--config.file={folder}/prometheus.yml"]
        self._command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address={self.url[7:]}"]
        self._log = folder / "log"
        self._client = httpx.Client(base_url=self.url, trust_env=False, timeout=30)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self._log.read_text())
            time.sleep(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)
        self._client.close()

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """The series of an instant vector, as of now or of another time, epoch seconds."""
        when = {} if at is None else {"time": f"{at:.3f}"}
        return list(self._get("/api/v1/query", query=expr, **when)["result"])

    def values(self, expr: str, at: float | None = None) -> list[float]:
        """Their values."""
        return [float(series["value"][1]) for series in self.query(expr, at)]

    def value(self, expr: str, at: float | None = None) -> float | None:
        """That of the only series; None where there is none, as after a scrape that took too long."""
        found = self.values(expr, at)
        assert len(found) <= 1, found
        return found[0] if found else None

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        alerts = self._get("/api/v1/alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        answer = self._client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def _ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False
