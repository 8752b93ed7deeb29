"""One machine, one command: the api as a process, Ray Serve around the three deployments, one Ctrl-C for all."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import ray
from ray import serve as ray_serve
from ray._private.metrics_agent import PrometheusServiceDiscoveryWriter
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from serve.config import Settings
from serve.deployments.child import Child, ChildFailed
from serve.deployments.names import BUILDER, NAME, POLICY
from serve.errors import ServeError
from serve.jobs.database import open_database
from serve.tenancy.demo import FILE, TENANT, ready_key
from serve.tenancy.tenancy import Tenancy

SHOW_EVERY_S = 2.0
SMALL_OBJECT_STORE = 256 << 20  # bytes; the pictures in flight, on a machine that also samples


class PlatformError(RuntimeError):
    """The platform could not start; the message says what to change."""


class Platform:
    """Everything `cnserve up` runs.

    Args:
        settings: Of the platform.
        say: Prints one line for the person at the terminal.
        show: Called now and then while it runs: the line that stays says how it is doing.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None], show: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._say = say
        self._show = show
        self._logs = settings.data_dir / "logs"
        self._api: Child | None = None
        self._key: str | None = None

    def run(self) -> None:
        """Start, serve until interrupted, stop.

        Raises:
            PlatformError: A process ended that should not have, or the data folder is in use.
        """
        with _one_per_folder(self._settings.data_dir), _signals() as stop:
            began = time.monotonic()
            try:
                self._start(stop)
                if not stop.is_set():
                    self._say(f"Ready after {time.monotonic() - began:.0f} s: {self.url} (docs at {self.url}/docs)")
                    self._say_key()
                self._watch(stop)
            finally:
                self._stop()

    @property
    def url(self) -> str:
        """Where the api answers."""
        return f"http://{self._settings.host}:{self._settings.port}"

    def _start(self, stop: threading.Event) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._say("Starting the api, the registry and Ray ...")
        self._key = self._ready_key()
        self._api = Child("api", [sys.executable, "-m", "serve.api"], self._logs / "api.log")
        # Importing MLflow and making its database take seconds; Ray starts meanwhile.
        registrar = threading.Thread(target=self._register_demo, name="registrar", daemon=True)
        registrar.start()
        start_ray()
        declare(gpus_of_sampler(self._settings))
        self._wait_until_deployed(stop)
        registrar.join()
        self._say("Loading and warming the model ...")
        while not stop.wait(0.5):
            self._check_api()
            if _is_ready(self.url):
                return

    def _wait_until_deployed(self, stop: threading.Event) -> None:
        """Wait until every deployment has what it should have.

        Raises:
            PlatformError: One can't; Ray's reason is its message.
        """
        while not stop.wait(0.25):
            # Not `serve.status()`: that pickles classes of Ray anew in each call, which took a core.
            application = _get_global_client().get_serve_status(NAME).app_status
            if application.status == "RUNNING":
                return
            if application.status == "DEPLOY_FAILED":
                raise PlatformError(f"Ray could not start the deployments.\n{application.message}")
            self._check_api()

    def _ready_key(self) -> str | None:
        """A key for a first request, where no team was declared.

        Raises:
            PlatformError: The database does not answer.
        """
        try:
            database = open_database(self._settings.database_url)
        except ServeError as error:
            raise PlatformError(str(error)) from error
        try:
            tenancy = Tenancy.over(database, self._settings)
            return ready_key(tenancy.tenants, tenancy.keys, self._settings.data_dir)
        finally:
            database.dispose()

    def _say_key(self) -> None:
        if self._settings.anonymous is not None:
            self._say(f"Without a key one is a member of the team {self._settings.anonymous}: for development only.")
        if self._key is None:
            self._say("Keys: cnserve keys create TENANT")
            return
        self._say(f"A key of the team {TENANT}, kept in {self._settings.data_dir / FILE}:\n{self._key}")
        self._say(f"curl -H 'Authorization: Bearer {self._key}' {self.url}/v1/models")

    def _watch(self, stop: threading.Event) -> None:
        shown = float("-inf")
        while not stop.wait(0.5):
            self._check_api()
            if time.monotonic() - shown >= SHOW_EVERY_S:
                shown = time.monotonic()
                self._show()

    def _stop(self) -> None:
        self._say("Stopping ...")
        if self._api is not None:
            self._api.stop()
        if ray.is_initialized():
            ray_serve.shutdown()
            ray.shutdown()

    def _check_api(self) -> None:
        try:
            if self._api is not None and self._api.look():
                self._say("The api had ended and was started again.")
        except ChildFailed as error:
            raise PlatformError(str(error)) from error

    def _register_demo(self) -> None:
        from controlnet.bundle import DEMO
        from serve.registry.registry import Registry, RegistryError

        registry = Registry.from_settings(self._settings)
        try:
            if not registry.versions():
                version = registry.push(DEMO)
                registry.promote(version.version)
        except RegistryError as error:  # not the end: what was served before still can be
            self._say(f"The demo model could not be registered: {error}")


def start_ray() -> None:
    """Start Ray on this machine; `secure_ray` was called before."""
    ray.init(
        num_cpus=max(2, os.cpu_count() or 1),
        include_dashboard=False,  # ten processes that nothing here asks for
        dashboard_host="127.0.0.1",
        object_store_memory=SMALL_OBJECT_STORE,
        log_to_driver=False,
        logging_level=logging.WARNING,
        configure_logging=True,
    )
    _write_metrics_targets()
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # the terminal is for what a person wants to know
    # Nobody outside reaches Ray: the api talks to the store, and the deployments to each other by handle.
    ray_serve.start(proxy_location="Disabled", logging_config={"encoding": "JSON", "enable_access_log": False})


def _write_metrics_targets() -> None:
    """Write the file by which Prometheus finds the metrics of this Ray, where Ray's dashboard would write it."""
    node = ray._private.worker._global_node
    PrometheusServiceDiscoveryWriter(node.gcs_address, node.get_temp_dir_path(), node.get_session_dir_path()).write()


def declare(gpus: float) -> None:
    """Tell Serve what is to run; it goes on to see to it. Its processes read the settings as this one did.

    Args:
        gpus: For each sampler.
    """
    application = {
        "name": NAME,
        "import_path": BUILDER,
        "args": {"gpus": gpus},
        "route_prefix": None,
        "autoscaling_policy": {"policy_function": POLICY},
    }
    # What `serve deploy` does, without its way through the dashboard.
    _get_global_client().deploy_apps(ServeDeploySchema(applications=[application]))


def gpus_of_sampler(settings: Settings) -> float:
    """As set, or one where the Ray that runs has any."""
    if settings.sampler_gpus is not None:
        return settings.sampler_gpus
    return 1.0 if ray.cluster_resources().get("GPU", 0) >= 1 else 0.0


@contextlib.contextmanager
def _one_per_folder(folder: Path) -> Iterator[None]:
    """Two platforms over one SQLite folder would steal each other's jobs and ports."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlatformError(f"Another platform runs on {folder.resolve()}; set CN_DATA_DIR to a folder.") from None
        yield


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM ask for a stop instead of tearing the stack down half-way."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
            return bool(json.load(answer))
    except (urllib.error.URLError, OSError):
        return False
