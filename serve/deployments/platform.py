"""One machine, one command: the api as a process, Ray Serve around the three deployments, one Ctrl-C for all."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import ray
from ray import serve as ray_serve
from ray._private.metrics_agent import PrometheusServiceDiscoveryWriter
from ray._private.node import Node
from ray.exceptions import RayError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ServeDeploySchema

from serve.config import JOBS, Settings
from serve.deployments.child import Child
from serve.deployments.ground import LAST_ROOM, DataFolder, PlatformError, ray_folder
from serve.deployments.names import BUILDER, NAME, POLICY
from serve.deployments.node import start_node, stop_node
from serve.jobs.database import StoreUnavailable, open_database, reach_database
from serve.jobs.store import JobStore
from serve.tenancy.demo import FILE, TENANT, ready_key
from serve.tenancy.tenancy import Tenancy

SHOW_EVERY_S = 2.0
REGISTRY_EVERY_S = 10.0
TELL_EVERY_S = 1.0  # what is waited for
STOPS = (signal.SIGINT, signal.SIGTERM)
SMALL_OBJECT_STORE = 256 << 20  # bytes; the pictures in flight, on a machine that also samples


class Platform:
    """Everything `cnserve up` runs.

    Args:
        settings: Of the platform.
        folder: Its data folder, which is held.
        say: Prints one line for the person at the terminal.
        show: Called now and then while it starts and runs: the line that stays says how it is doing. What it returns is
            said once.
        waited: Called every second while the start waits for something, with what that is and for how many seconds.
    """

    def __init__(
        self,
        settings: Settings,
        folder: DataFolder,
        say: Callable[[str], None],
        show: Callable[[], str | None] = lambda: None,
        waited: Callable[[str, float], None] = lambda what, seconds: None,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._say = say
        self._show = show
        self._waited = waited
        self._shown_at = float("-inf")
        self._logs = folder.path / "logs"
        self._api: Child | None = None
        self._node: Node | None = None
        self._key: str | None = None
        self._full = False
        self._refused: Exception | None = (
            None  # why the model that ships could not be registered, if it is the only one
        )

    def run(self) -> None:
        """Start, serve until interrupted, stop.

        Raises:
            OperatorError: A process ended that should not have, or the data folder was removed or is full.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        with _signals() as stop, quiet(self._logs / "ray.log"):
            began = time.monotonic()
            try:
                self._start(stop)
                if not stop.is_set():
                    self._say(f"Ready after {time.monotonic() - began:.0f} s: {self.url} (docs at {self.url}/docs)")
                    self._say_key()
                self._watch(stop)
            except (RayError, RayServeException) as error:
                raise PlatformError(f"Ray ended: {_last_line(str(error))}. {self._ray_logs}") from error
            finally:
                self._stop()

    @property
    def url(self) -> str:
        """Where the api answers."""
        return f"http://{self._settings.host}:{self._settings.port}"

    @property
    def _ray_logs(self) -> str:
        return f"Its logs: {self._logs / 'ray.log'}, {ray_folder() / 'ray' / 'session_latest' / 'logs'}"

    def _start(self, stop: threading.Event) -> None:
        self._say("Starting the api, the registry and Ray ...")
        self._key = self._ready_key()
        if self._settings.database is None:
            self._folder.watch(JOBS)
        command = [sys.executable, "-m", "serve.api"]
        self._api = Child("api", command, self._logs / "api.log", partial(_is_good, f"{self.url}/healthz"))
        # Importing MLflow and making its database take seconds; Ray starts meanwhile.
        registrar = threading.Thread(target=self._register_demo, name="registrar", daemon=True)
        registrar.start()
        with self._waiting("starting Ray", stop):
            self._start_ray(stop)
        with self._waiting("starting the deployments", stop):
            self._wait_until_deployed(stop)
        with self._waiting("registering the model", stop):
            if self._wait_until_ready(stop, registrar.is_alive):  # what was served before still is
                return
        if not stop.is_set():
            self._say("Loading and warming the model ...")
        with self._waiting("loading and warming the model", stop):
            self._wait_until_ready(stop)

    def _start_ray(self, stop: threading.Event) -> None:
        """Start Ray, unless a stop is asked for before it has begun.

        Raises:
            PlatformError: It does not start; says where its logs are.
        """
        if stop.is_set():
            return
        try:
            self._node = start_ray()
            declare(gpus_of_sampler(self._settings))
        except SystemExit:  # SIGTERM, which Ray takes for itself
            stop.set()
        except Exception as error:
            # Ray raises what comes to hand, `Exception` itself among it.
            raise PlatformError(f"Ray could not be started: {_last_line(str(error))}. {self._ray_logs}") from error
        finally:
            listen(stop)

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
                print(application.message, file=sys.stderr)  # whole in the log
                reason = _last_line(application.message)
                raise PlatformError(f"Ray could not start the deployments: {reason}. {self._ray_logs}")
            self._check(starting=True)

    def _wait_until_ready(self, stop: threading.Event, goes_on: Callable[[], bool] = lambda: True) -> bool:
        """Wait until a model is served, for as long as something goes on.

        Returns:
            Whether one is.

        Raises:
            PlatformError: None will be.
        """
        while goes_on() and not stop.wait(0.5):
            self._check(starting=True)
            self._look()
            if _is_good(f"{self.url}/readyz"):
                return True
            if self._refused is not None:
                raise PlatformError(f"No model can be served: {_last_line(str(self._refused))}.")
        return False

    @contextlib.contextmanager
    def _waiting(self, what: str, stop: threading.Event | None = None) -> Iterator[None]:
        """Tell every second what is waited for, from another thread: some waits are inside a call of Ray's."""
        over = threading.Event()
        began = time.monotonic()

        def tell() -> None:
            while not over.wait(TELL_EVERY_S):
                stopping = stop is not None and stop.is_set()
                self._waited(f"{what}, then stopping" if stopping else what, time.monotonic() - began)

        teller = threading.Thread(target=tell, name="teller", daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()

    def _ready_key(self) -> str | None:
        """A key for a first request, where no team was declared.

        Raises:
            OperatorError: The database does not answer, or can't be used.
        """
        try:
            database = open_database(self._settings.database_url)
        except StoreUnavailable as error:
            raise PlatformError(
                f"{error} {_last_line(str(error.__cause__))}: start the database of CN_DATABASE, or set another."
            ) from error
        try:
            tenancy = Tenancy.over(database, self._settings)
            return ready_key(tenancy.tenants, tenancy.keys, self._settings.data_dir)
        finally:
            database.dispose()

    def _serves(self) -> bool:
        """Whether a model was served before; known as soon as the database answers."""
        database = reach_database(self._settings.database_url)
        try:
            return JobStore(database).serving(self._settings.model) is not None
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
        while not stop.wait(0.5):
            self._check()
            self._look()

    def _look(self) -> None:
        """Say how it is doing, now and then."""
        if time.monotonic() - self._shown_at >= SHOW_EVERY_S:
            self._shown_at = time.monotonic()
            if new := self._show():
                self._say(new)

    def _stop(self) -> None:
        self._say("Stopping ...")
        with self._waiting("stopping"):
            if self._api is not None:
                self._api.stop()
            if ray.is_initialized():
                with contextlib.suppress(RayError, RayServeException):  # what has ended already need not be told to
                    ray_serve.shutdown()
                ray.shutdown()
            if self._node is not None:
                stop_node(self._node)
        self._say("Stopped.")

    def _check(self, starting: bool = False) -> None:
        """Look whether the api, the data folder and its disk are as they should be.

        Raises:
            ChildFailed: The api can't be started.
            PlatformError: The folder is gone; or its disk is full, so that the start would never end.
        """
        full = self._folder.look() < LAST_ROOM
        if full and not self._full:
            words = f"The disk of {self._folder.path} is full: make room there"
            if starting:
                raise PlatformError(f"{words}, or set CN_DATA_DIR to a folder on another disk.")
            self._say(f"{words}, jobs fail until there is some.")
        self._full = full
        if self._api is not None and self._api.look():
            self._say("The api had ended and was started again.")

    def _register_demo(self) -> None:
        from controlnet.bundle import DEMO, BundleError
        from serve.registry.registry import Registry, RegistryError, RegistryUnreachable

        registry = Registry.from_settings(self._settings)
        while True:
            try:
                registry.begin_with(DEMO)
                return
            except RegistryUnreachable as error:
                self._say(f"The registry is waited for: {error}")
                time.sleep(REGISTRY_EVERY_S)
            except (BundleError, RegistryError) as error:  # not the end: what was served before still can be
                self._say(f"The model that ships could not be registered: {error}")
                if not self._serves():
                    self._refused = error
                return


def start_ray() -> Node:
    """Start Ray on this machine; `secure_ray` was called before."""
    node = start_node(SMALL_OBJECT_STORE)  # no dashboard: ten processes that nothing here asks for
    try:
        ray.init(address=node.address, log_to_driver=False, logging_level=logging.WARNING, configure_logging=True)
        _write_metrics_targets(node)
        logging.getLogger("ray.serve").setLevel(logging.WARNING)  # the terminal is for what a person wants to know
        # Nobody outside reaches Ray: the api talks to the store, and the deployments to each other by handle.
        ray_serve.start(proxy_location="Disabled", logging_config={"encoding": "JSON", "enable_access_log": False})
    except BaseException:
        stop_node(node)
        raise
    return node


def _write_metrics_targets(node: Node) -> None:
    """Write the file by which Prometheus finds the metrics of this Ray, where Ray's dashboard would write it."""
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
def quiet(log: Path) -> Iterator[None]:
    """Have what libraries print go to the end of a file meanwhile, and standard error, where those in C++ write.

    Ray prints what is no news: that its controller, which was told to end, has ended; what may have killed a process.
    Whoever has lines for a person keeps the standard output of before.
    """
    sys.stderr.flush()
    with log.open("a") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            with contextlib.redirect_stdout(file):
                yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM ask for a stop instead of tearing the stack down half-way."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in STOPS}
    listen(stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(stop: threading.Event) -> None:
    """Have the signals that ask for a stop set `stop`; once more after Ray, which has SIGTERM end the process."""
    for number in STOPS:
        signal.signal(number, lambda *_: stop.set())


def _is_good(url: str) -> bool:
    """Whether it is answered by 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(json.load(answer))
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _last_line(text: str) -> str:
    """What an error comes to: the last line of its text, without a full stop."""
    *_, last = ["no reason is given", *filter(None, map(str.strip, text.splitlines()))]
    return last.rstrip(".")
