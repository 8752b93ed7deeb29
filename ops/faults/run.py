"""One campaign: clients, the blows that fall on the platform meanwhile, and the check of its history."""

from __future__ import annotations

import io
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from PIL import Image

from ops.faults import records
from ops.faults.blows import Blobs, Database, Missed, Site, Strike, kinds
from ops.faults.checker import Breach, check
from ops.faults.clients import Clients, Team
from ops.faults.disk import Disk
from ops.faults.draw import Planned
from ops.faults.history import History
from ops.faults.proxy import BlobProxy, DatabaseProxy
from ops.faults.receiver import Receiver
from ops.faults.rig import ROOT, Rig
from ops.faults.wall import MODULES, WallClock, before_midnight_s
from ops.load.teams import declare
from ops.load.trace import Team as Declared
from ops.services import Azurite, Missing, Postgres
from serve.jobs.database import open_database

WINDOW = 12
"""Jobs that are unfinished at once: more than are started, so that some wait."""

TEAMS = ("press", "mill", "yard")

SETTLED_WITHIN_S = 300.0
RECOVERED_WITHIN_S = 420.0
"""The machine may be shared."""

LOOKS, LOOK_S = 4, 5.0
"""At files that no row names, before they are a breach."""

DISK = 3 << 30

RETENTION_S = 300.0
"""So that results expire while it runs; far above what a client takes to fetch its pictures."""

MIDNIGHT_AFTER_S = 150.0
"""From before the platform starts: the day ends, in UTC, while blows fall."""

SKEW_S = -420.0
"""Of the second api's wall clock."""

SETTINGS = {
    "CN_RETENTION": f"{RETENTION_S:g}",
    "CN_WEBHOOK_HOSTS": '["127.0.0.1"]',  # where the receivers are
}
"""Of the platform under test; all others are the users' own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a blow.

    Attributes:
        took_s: Until it was over.
        unfinished: Jobs that were under way when it fell.
        recovery_s: From its end until the last of these had ended.
        missed: Why there was nothing to strike.
        failed: Why the platform did not come back.
    """

    planned: Planned
    took_s: float
    unfinished: int = 0
    recovery_s: float = 0.0
    missed: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What one database went through.

    Attributes:
        seed: Of the blows and of what clients did.
        accepted: Jobs that a client was told were.
        ends: Of all jobs, by state.
        starts: Of all jobs together; above their number by what blows had made again.
        repeats: Calls of webhooks that a receiver could tell for repeats; allowed.
        refused: What clients gave up on.
        breaches: Of promises.
        seconds: In all.
    """

    database: Database
    seed: int
    outcomes: Sequence[Outcome]
    accepted: int
    ends: Mapping[str, int]
    starts: int
    repeats: int
    refused: Sequence[str]
    breaches: Sequence[Breach]
    seconds: float

    @property
    def clean(self) -> bool:
        """The platform came back each time, clients got all that they asked for, and no promise was broken."""
        failed = any(outcome.failed for outcome in self.outcomes)
        return not (failed or self.breaches or self.refused) and self.accepted > 0


def run(
    folder: Path,
    database: Database,
    seed: int,
    plan: Callable[[Mapping[str, Strike]], Sequence[Planned]],
    disk: bool = True,
    blobs: bool = True,
    code: Path = ROOT,
    say: Callable[[str], None] = lambda line: None,
) -> Campaign:
    """Start a platform, keep it busy, strike it, and check the history.

    Args:
        folder: For everything it stores.
        database: Where jobs are.
        seed: Of what clients do, and of victims that are drawn.
        plan: Chooses blows from the kinds that can be had here.
        disk: Whether it has a disk of its own, where one can be had; without, a power cut cannot.
        blobs: Whether its artifacts are in a blob service, where one can be had and the database is a server, too.
        code: Checkout whose platform is run.
        say: Told of each blow.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        # A server ends with the thread that started it, so threads outlast what is started in them.
        threads = stack.enter_context(ThreadPoolExecutor(16, thread_name_prefix="blow"))
        site = stack.enter_context(_site(folder, database, seed, disk, blobs, code, say))
        members, _ = declare(site.rig, [Declared(name, 1.0, 1.0 / len(TEAMS)) for name in TEAMS])
        teams = [Team(one.team, members[one.team], one.url) for one in site.receivers]
        skewed = WallClock(folder / "skewed clock", SKEW_S)
        urls = [site.rig.url, site.rig.second_api(skewed.variables)]
        clients = stack.enter_context(Clients(urls, teams, WINDOW, photograph(), seed))
        strikes = kinds(database, site.disk is not None, site.blobs is not None)
        outcomes = _strike(site, strikes, plan(strikes), threads, say)
        history = History()
        if not any(outcome.failed for outcome in outcomes):  # otherwise clients would wait for what does not come
            clients.finish()
            history = _settled(site, clients, teams)
    return Campaign(
        database,
        seed,
        outcomes,
        accepted=sum(submission.accepted for submission in history.submissions),
        ends=Counter(job.state for job in history.jobs),
        starts=sum(job.attempt for job in history.jobs),
        repeats=sum(receiver.repeats for receiver in site.receivers),
        refused=clients.refused,
        breaches=check(history),
        seconds=time.monotonic() - began,
    )


@contextmanager
def _site(
    folder: Path, database: Database, seed: int, disk: bool, blobs: bool, code: Path, say: Callable[[str], None]
) -> Iterator[Site]:
    """The platform with all that is around it."""
    home = folder / "platform"
    home.mkdir()
    with ExitStack() as stack:
        own: Disk | None = None
        if disk and (why := Disk.possible()) is not None:
            say(f"no power is cut and no disk is full: {why}")
        elif disk:
            own = stack.enter_context(Disk(home, DISK))
            for entered in (folder, home):
                entered.chmod(0o711)  # PostgreSQL's user must be able to
        ahead_s = before_midnight_s(MIDNIGHT_AFTER_S)
        clock = WallClock(folder / "clock", ahead_s)
        server = proxy = url = stored = None
        if database == "postgresql":
            data = None if own is None else home / "postgresql"
            server = stack.enter_context(Postgres(durable=True, data=data, clock_offset_s=ahead_s))
            proxy = stack.enter_context(DatabaseProxy(server.folder))
            url = proxy.url()
            stored = _blobs(stack, say) if blobs else None
        receivers = [stack.enter_context(Receiver(name)) for name in TEAMS]
        settings = {**SETTINGS, **clock.variables, **({} if stored is None else stored.settings)}
        reads = None if server is None else server.url()
        rig = stack.enter_context(Rig(home, url, settings, reads=reads, modules=(MODULES, code)))
        yield Site(rig, receivers, clock, own, server, proxy, stored, random.Random(seed))


def _blobs(stack: ExitStack, say: Callable[[str], None]) -> Blobs | None:
    """A blob service with nothing in it, where one can be had."""
    try:
        service = stack.enter_context(Azurite())
    except Missing as missing:
        say(f"artifacts are in a folder: {missing}")
        return None
    blobs = Blobs(service, stack.enter_context(BlobProxy(service.port)))
    service.make_container(blobs.container)
    return blobs


def _strike(
    site: Site,
    strikes: Mapping[str, Strike],
    planned: Sequence[Planned],
    threads: ThreadPoolExecutor,
    say: Callable[[str], None],
) -> list[Outcome]:
    """All blows at their times, unless the platform does not come back from one; until it is over the last."""
    began, lost = time.monotonic(), threading.Event()
    striking = []
    for number, blow in enumerate(planned, start=1):
        if lost.wait(max(0.0, began + blow.at_s - time.monotonic())):
            break
        striking.append(threads.submit(_blow, site, strikes[blow.kind], number, blow, say, lost))
    return [outcome.result() for outcome in striking]


def _blow(
    site: Site, strike: Strike, number: int, planned: Planned, say: Callable[[str], None], lost: threading.Event
) -> Outcome:
    began = time.monotonic()
    try:
        unfinished = _unfinished(site)
        strike(site)
        took_s = time.monotonic() - began
        outcome = Outcome(planned, took_s, len(unfinished), _recovery_s(site, unfinished))
    except Missed as why:
        outcome = Outcome(planned, time.monotonic() - began, missed=str(why))
    except Exception as error:  # those under way end all the same, and this one is a line of the report
        lost.set()
        outcome = Outcome(planned, time.monotonic() - began, failed=repr(error))
    took = f"{outcome.took_s:.1f} s, {outcome.unfinished} under way, over {outcome.recovery_s:.1f} s later"
    say(f"{number:3} {planned.at_s:6.1f} s {planned.kind}: {outcome.failed or outcome.missed or took}")
    return outcome


def _unfinished(site: Site) -> set[str]:
    """Jobs that are under way; read past the proxy, again while the server is away."""
    deadline = time.monotonic() + RECOVERED_WITHIN_S
    while True:
        try:
            return records.unfinished(site.rig.reads)
        except sa.exc.DBAPIError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _recovery_s(site: Site, unfinished: set[str]) -> float:
    """Seconds until the jobs have ended that were under way.

    Raises:
        RuntimeError: Some have not ended in time.
    """
    began, left = time.monotonic(), unfinished
    while left := left & _unfinished(site):
        if time.monotonic() - began > RECOVERED_WITHIN_S:
            raise RuntimeError(f"{len(left)} jobs have not ended {RECOVERED_WITHIN_S:.0f} s after: {sorted(left)[:3]}")
        time.sleep(0.5)
    return time.monotonic() - began


def _settled(site: Site, clients: Clients, teams: Sequence[Team]) -> History:
    """The history, when all jobs have ended and all webhooks have come; what takes too long is a breach."""
    accepted = {job for submission in clients.submissions for job in submission.jobs}
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < deadline:
        told = {job for receiver in site.receivers for job in receiver.told}
        if not accepted - told and not _unfinished(site):
            break
        time.sleep(0.2)
    for _ in range(LOOKS):
        history = _history(site, clients, teams)
        if not history.unnamed:
            break
        time.sleep(LOOK_S)  # an attempt that was given up may be about to write
    return history


def _history(site: Site, clients: Clients, teams: Sequence[Team]) -> History:
    artifacts = site.artifacts
    engine = open_database(site.rig.database_url)
    try:
        swept = records.tidy(engine, artifacts)
    finally:
        engine.dispose()
    billed = records.bill(site.rig.url, {team.name: team.key for team in teams})
    calls = [call for receiver in site.receivers for call in receiver.calls]
    return records.read(
        site.rig.reads, artifacts, clients.submissions, calls, billed, deleted=site.deleted, swept=swept
    )


def photograph() -> bytes:
    """A small picture with edges, PNG."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[16:48, 16:48] = 200
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
