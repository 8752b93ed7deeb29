"""What a campaign breaks, kind by kind. A blow ends by itself; whether the platform is over it others tell."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import httpx

from ops.faults import changes
from ops.faults.disk import Disk
from ops.faults.proxy import BlobProxy, DatabaseProxy
from ops.faults.receiver import Conduct, Receiver
from ops.faults.rig import Rig
from ops.faults.wall import WallClock
from ops.services import Azurite, Postgres
from serve.config import JOBS, MLFLOW
from serve.errors import OperatorError
from serve.jobs.artifacts import ArtifactStore

Database = Literal["sqlite", "postgresql"]

LEASE_S = 30.0
"""The users' default: what lasts longer is taken for dead."""

AWAY_S = LEASE_S + 6.0
SHORTLY_S = 8.0
STANDBY_S = 4.0
REGISTRY_AWAY_S = 20.0
FROZEN_S = 90.0
"""Above the sweeper's round."""

VICTIM_WITHIN_S = 90.0
"""After which a process that is to be struck is there again, if the last blow took it."""

DRAWS = 10
"""Of a file, where the one that was drawn is gone."""

COMMITS = 3
"""Whose answers are cut, in a row."""

SLOW_S = 0.05
"""Of each statement."""

BLOBS_SLOW_S = 0.3
"""Of each piece of a request to the blob service."""

STEPS_S = (-86_400.0, -3_600.0, 3_600.0, 86_400.0)
"""By which a wall clock is wrong for a while."""


class Missed(RuntimeError):
    """There was nothing to strike: why."""


@dataclass(frozen=True, slots=True)
class Blobs:
    """A blob service that artifacts are in, and the proxy before it."""

    service: Azurite
    proxy: BlobProxy
    container: str = "artifacts"

    @property
    def url(self) -> str:
        """Of the store of artifacts."""
        return f"az://{self.container}"

    @property
    def settings(self) -> Mapping[str, str]:
        """For a platform whose artifacts come here, by way of the proxy."""
        options = json.dumps(self.service.options_at(self.proxy.port))
        return {"CN_ARTIFACTS": self.url, "CN_ARTIFACTS_OPTIONS": options}


@dataclass(slots=True)
class Site:
    """All that can be struck.

    Attributes:
        rig: The platform.
        receivers: Of all teams' webhooks.
        clock: Wall clock of its processes but a second api's.
        disk: That everything is stored on; none where it cannot be had.
        server: None where the database is SQLite.
        proxy: Between the platform and the server.
        blobs: None where artifacts are in a folder.
        luck: Of the campaign.
        deleted: Digests of versions that were deleted from the registry.
        whole: Held by who takes the whole platform down, and brings it back.
        serving: Likewise the database's server.
    """

    rig: Rig
    receivers: Sequence[Receiver]
    clock: WallClock
    disk: Disk | None
    server: Postgres | None
    proxy: DatabaseProxy | None
    blobs: Blobs | None
    luck: random.Random
    deleted: set[str] = field(default_factory=set)
    whole: threading.Lock = field(default_factory=threading.Lock)
    serving: threading.Lock = field(default_factory=threading.Lock)

    @property
    def artifacts(self) -> ArtifactStore:
        """The platform's, past the proxy."""
        if self.blobs is None:
            return ArtifactStore.open(self.rig.artifacts.as_uri())
        return ArtifactStore.open(self.blobs.url, self.blobs.service.options)


Strike = Callable[[Site], None]


def kinds(database: Database, disk: bool, blobs: bool = False) -> Mapping[str, Strike]:
    """What can be struck.

    Args:
        database: Of the platform.
        disk: Whether it has a disk of its own.
        blobs: Whether its artifacts are in a blob service.
    """
    own = POSTGRESQL if database == "postgresql" else SQLITE
    return {**PROCESSES, **CHANGES, **own, **(DISK if disk else {}), **(BLOBS if blobs else {})}


def severe(kinds: Collection[str]) -> Sequence[str]:
    """Of some kinds, those whose pairs are struck at once."""
    found = ("power cut", "database away", "kill dispatcher", "file that cannot be deleted")
    last = "database failover" if "database failover" in kinds else "pause dispatcher"
    return [kind for kind in (*found, last) if kind in kinds]


# Processes.


def _hit(strike: Callable[[Rig], object], site: Site) -> None:
    """Strike a process of a role as soon as there is one: the last blow may have taken it."""
    deadline = time.monotonic() + VICTIM_WITHIN_S
    while True:
        try:
            strike(site.rig)
        except RuntimeError as error:
            if time.monotonic() > deadline:
                raise Missed(f"{error}, for {VICTIM_WITHIN_S:.0f} s") from error
            time.sleep(0.05)
        else:
            return


def _kill(role: str) -> Strike:
    return partial(_hit, lambda rig: rig.kill(role))


def _stop(role: str) -> Strike:
    return partial(_hit, lambda rig: rig.stop(role))


def _pause(role: str) -> Strike:
    return partial(_hit, lambda rig: rig.pause(role, AWAY_S))


def _kill_all(site: Site) -> None:
    with site.whole:
        site.rig.kill_all()
        site.rig.start()


def _stop_all(site: Site) -> None:
    with site.whole:
        site.rig.stop_all()
        site.rig.start()


PROCESSES: Mapping[str, Strike] = {
    **{f"kill {role}": _kill(role) for role in ("sampler", "imaging", "dispatcher", "api", "controller")},
    **{f"stop {role}": _stop(role) for role in ("sampler", "imaging", "dispatcher", "api")},
    **{f"pause {role}": _pause(role) for role in ("sampler", "imaging", "dispatcher", "api")},
    "kill all": _kill_all,
    "stop all": _stop_all,
}
"""kill: SIGKILL; stop: SIGTERM; pause: SIGSTOP for longer than a lease, then SIGCONT."""


# What an operator does, and what happens at others.


def _do(change: Callable[[Site], None]) -> Strike:
    """What an operator tries again while what it needs is away, which others may have struck."""

    def again(site: Site) -> None:
        deadline = time.monotonic() + VICTIM_WITHIN_S
        while True:
            try:
                return change(site)
            except (RuntimeError, OSError, StopIteration, OperatorError) as error:
                if time.monotonic() > deadline:
                    raise Missed(f"it could not be done for {VICTIM_WITHIN_S:.0f} s: {error!r}") from error
                time.sleep(1.0)

    return again


def _promote_twice(site: Site) -> None:
    changes.promote(site.rig)
    changes.promote(site.rig)


def _delete_version(site: Site) -> None:
    site.deleted.add(changes.delete_version(site.rig, site.luck.uniform(1.01, 1.1)))


def _registry_away(site: Site) -> None:
    with _exclusive(site.rig.folder / "data" / MLFLOW):
        time.sleep(REGISTRY_AWAY_S)


def _receivers(conduct: Conduct, site: Site) -> None:
    for receiver in site.receivers:
        receiver.conduct = conduct
    time.sleep(SHORTLY_S)
    for receiver in site.receivers:
        receiver.conduct = "answer"


def _clock_set(site: Site) -> None:
    site.clock.set(site.luck.choice(STEPS_S))
    time.sleep(AWAY_S)
    site.clock.set(0.0)


CHANGES: Mapping[str, Strike] = {
    "promotion": _do(lambda site: changes.promote(site.rig)),
    "promotion during a promotion": _do(_promote_twice),
    "redeployment": _do(lambda site: changes.redeploy(site.rig)),
    "version deleted": _do(_delete_version),
    "registry away": _registry_away,
    "wall clock set": _clock_set,
    "receivers hang": partial(_receivers, "hang"),
    "receivers refuse": partial(_receivers, "refuse"),
    "receivers answer late": partial(_receivers, "late"),
}


# The database.


@contextmanager
def _exclusive(file: Path) -> Iterator[None]:
    """Nobody else writes into a SQLite file, nor reads where it has no write-ahead log."""
    with closing(sqlite3.connect(file, timeout=30.0, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def _locked(site: Site) -> None:
    with _exclusive(site.rig.folder / "data" / JOBS):
        time.sleep(AWAY_S)


def _server(site: Site) -> Postgres:
    assert site.server is not None
    return site.server


def _proxy(site: Site) -> DatabaseProxy:
    assert site.proxy is not None
    return site.proxy


def _crash(site: Site) -> None:
    with site.serving:
        _server(site).stop(crash=True)
        _server(site).start()


def _away(site: Site) -> None:
    with site.serving:
        _server(site).stop()
        time.sleep(AWAY_S)
        _server(site).start()


def _fail_over(site: Site) -> None:
    with site.serving:
        _server(site).stop()
        _server(site).start(standby=True)
        time.sleep(STANDBY_S)
        _server(site).promote()


def _cut_commits(site: Site) -> None:
    _proxy(site).cut_commits(COMMITS)


def _slow(site: Site) -> None:
    _proxy(site).delay_s = SLOW_S
    time.sleep(SHORTLY_S)
    _proxy(site).delay_s = 0.0


SQLITE: Mapping[str, Strike] = {"database away": _locked}
POSTGRESQL: Mapping[str, Strike] = {
    "database killed": _crash,
    "database away": _away,
    "database failover": _fail_over,
    "answers to COMMIT cut": _cut_commits,
    "database slow": _slow,
    "database cut off": lambda site: _proxy(site).cut(),
}


# The disk.


def _disk(site: Site) -> Disk:
    assert site.disk is not None
    return site.disk


def _power_cut(site: Site) -> None:
    server = site.server

    def processes() -> list[int]:
        return [*site.rig.processes(), *([] if server is None else server.processes())]

    def kill() -> None:
        site.rig.kill_all()
        if server is not None:
            server.kill()

    with site.whole, site.serving:
        _disk(site).cut(kill, processes)
        if server is not None:
            server.start()
        site.rig.start()


def _full(site: Site) -> None:
    with site.serving:
        with _disk(site).fill():
            time.sleep(SHORTLY_S)
        if site.server is not None and not site.server.running:
            site.server.start()


def _undeletable(keep: Callable[[Site], contextlib.AbstractContextManager[None]], site: Site) -> None:
    for _ in range(DRAWS):
        # It went meanwhile, or there is none yet.
        with contextlib.suppress(RuntimeError, IndexError, httpx.HTTPStatusError):
            with keep(site):
                time.sleep(FROZEN_S)
            return
        time.sleep(1.0)
    raise Missed("no artifact is there to be kept")


@contextmanager
def _frozen(site: Site) -> Iterator[None]:
    files = sorted(site.rig.artifacts.glob("*/*/*.png"))
    with _disk(site).freeze_file(site.luck.choice(files)):
        yield


DISK: Mapping[str, Strike] = {
    "power cut": _power_cut,
    "disk full": _full,
    "file that cannot be deleted": partial(_undeletable, _frozen),
}


# The blob service.


def _blobs(site: Site) -> Blobs:
    assert site.blobs is not None
    return site.blobs


def _blobs_away(site: Site) -> None:
    _blobs(site).proxy.away = True
    _blobs(site).proxy.cut()
    time.sleep(AWAY_S)
    _blobs(site).proxy.away = False


def _blobs_slow(site: Site) -> None:
    _blobs(site).proxy.delay_s = BLOBS_SLOW_S
    time.sleep(SHORTLY_S)
    _blobs(site).proxy.delay_s = 0.0


@contextmanager
def _leased(site: Site) -> Iterator[None]:
    async def listed() -> list[str]:
        return [one.key async for found in site.artifacts.list() for one in found]

    blobs, key = _blobs(site), site.luck.choice(sorted(asyncio.run(listed())))
    blobs.service.lease(blobs.container, key)
    try:
        yield
    finally:
        blobs.service.release(blobs.container, key)


BLOBS: Mapping[str, Strike] = {
    "artifacts away": _blobs_away,
    "artifacts slow": _blobs_slow,
    "artifacts cut off": lambda site: _blobs(site).proxy.cut(),
    "file that cannot be deleted": partial(_undeletable, _leased),
}
