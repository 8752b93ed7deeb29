"""What a campaign breaks, kind by kind. A blow ends by itself; whether the platform is over it others tell."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from ops.faults import changes
from ops.faults.disk import Disk
from ops.faults.proxy import DatabaseProxy
from ops.faults.receiver import Conduct, Receiver
from ops.faults.rig import Rig
from ops.services import Postgres
from serve.config import JOBS, MLFLOW
from serve.errors import OperatorError

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


class Missed(RuntimeError):
    """There was nothing to strike: why."""


@dataclass(slots=True)
class Site:
    """All that can be struck.

    Attributes:
        rig: The platform.
        receivers: Of all teams' webhooks.
        disk: That everything is stored on; none where it cannot be had.
        server: None where the database is SQLite.
        proxy: Between the platform and the server.
        luck: Of the campaign.
        deleted: Digests of versions that were deleted from the registry.
        whole: Held by who takes the whole platform down, and brings it back.
        serving: Likewise the database's server.
    """

    rig: Rig
    receivers: Sequence[Receiver]
    disk: Disk | None
    server: Postgres | None
    proxy: DatabaseProxy | None
    luck: random.Random
    deleted: set[str] = field(default_factory=set)
    whole: threading.Lock = field(default_factory=threading.Lock)
    serving: threading.Lock = field(default_factory=threading.Lock)


Strike = Callable[[Site], None]


def kinds(database: Database, disk: bool) -> Mapping[str, Strike]:
    """What can be struck.

    Args:
        database: Of the platform.
        disk: Whether it has a disk of its own.
    """
    own = POSTGRESQL if database == "postgresql" else SQLITE
    return {**PROCESSES, **CHANGES, **own, **(DISK if disk else {})}


def severe(database: Database, disk: bool) -> Sequence[str]:
    """Kinds whose pairs are struck at once."""
    found = ("power cut", "database away", "kill dispatcher", "file that cannot be deleted")
    last = "database failover" if database == "postgresql" else "pause dispatcher"
    return [kind for kind in (*found, last) if kind in kinds(database, disk)]


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


CHANGES: Mapping[str, Strike] = {
    "promotion": _do(lambda site: changes.promote(site.rig)),
    "promotion during a promotion": _do(_promote_twice),
    "redeployment": _do(lambda site: changes.redeploy(site.rig)),
    "version deleted": _do(_delete_version),
    "registry away": _registry_away,
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


def _frozen(site: Site) -> None:
    for _ in range(DRAWS):
        files = sorted(site.rig.artifacts.glob("*/*/*.png"))
        with contextlib.suppress(RuntimeError, IndexError):  # it went meanwhile, or there is none yet
            with _disk(site).freeze_file(site.luck.choice(files)):
                time.sleep(FROZEN_S)
            return
        time.sleep(1.0)
    raise Missed("no artifact is there to be kept")


DISK: Mapping[str, Strike] = {
    "power cut": _power_cut,
    "disk full": _full,
    "file that cannot be deleted": _frozen,
}
