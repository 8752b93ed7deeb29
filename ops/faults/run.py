"""One campaign: load, faults, audit."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ops.faults.books import Audit, audit
from ops.faults.changes import mount_disk, unmount_disk
from ops.faults.faults import DATABASE, Fault, Outcome, strike
from ops.faults.ledger import Ledger
from ops.faults.receiver import Receiver
from ops.faults.rig import Rig
from ops.services import Postgres

Database = Literal["sqlite", "postgresql"]

WINDOW = 8
"""Jobs that are unfinished at once."""

SETTINGS = {
    "CN_LEASE": "6",  # a silent dispatcher is missed soon
    "CN_ROWS_IN_FLIGHT": "8",  # four jobs: fewer than are unfinished, so that some are queued
    "CN_WEBHOOK_HOSTS": '["127.0.0.1"]',
}
"""Of the platform under test."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What one database went through.

    Attributes:
        jobs: That were to be accepted.
        refused: What the client gave up on before it was accepted.
        seconds: In all.
    """

    database: Database
    jobs: int
    outcomes: Sequence[Outcome]
    audit: Audit
    refused: Sequence[str]
    seconds: float

    @property
    def clean(self) -> bool:
        """Every job was accepted, and the books balance."""
        return self.audit.clean and self.audit.accepted == self.jobs


def run(
    folder: Path,
    database: Database,
    jobs: int,
    kills: int,
    faults: Sequence[Fault],
    say: Callable[[str], None] = lambda line: None,
) -> Campaign:
    """Start a platform, keep it busy with `jobs` jobs, strike it `kills` times meanwhile, and audit the books.

    Args:
        folder: For everything it stores.
        database: Where jobs are.
        jobs: To have accepted.
        kills: Faults in all, from `faults` over and over.
        faults: What is broken; on PostgreSQL its own restart is one more, and `disk` one less where none can be filled.
        say: Told of each fault.
    """
    began = time.monotonic()
    server = Postgres() if database == "postgresql" else None
    with server or nullcontext(), _disk(folder / "data" / "artifacts", faults, say) as faults:
        url = server.url() if server else None
        with (
            Receiver() as receiver,
            Rig(folder, url, SETTINGS) as rig,
            Ledger(rig.url, rig.key, receiver.url, WINDOW, photograph()) as ledger,
        ):
            outcomes = []
            for number, fault in enumerate(islice(cycle((*faults, DATABASE) if server else faults), kills)):
                ledger.allow(jobs * (number + 1) // (kills + 1))  # each blow falls on a share of the jobs
                outcome = strike(rig, fault, partial(_restart, server) if server else None)
                outcomes.append(outcome)
                say(
                    f"{number + 1:3} {fault.kind:<11}{fault.moment:<10}{'' if outcome.hit else 'missed  '}"
                    f"{outcome.unfinished} under way, {outcome.recovery_s:.1f} s"
                )
            ledger.allow(jobs)
            ledger.finish()
            books = audit(rig, ledger.entries, receiver)
    return Campaign(database, jobs, outcomes, books, ledger.refused, time.monotonic() - began)


@contextmanager
def _disk(folder: Path, faults: Sequence[Fault], say: Callable[[str], None]) -> Iterator[Sequence[Fault]]:
    """The faults that can be had: to fill a disk takes one that is small, and a user who may mount it."""
    if not any(fault.kind == "disk" for fault in faults):
        yield faults
    elif mount_disk(folder):
        try:
            yield faults
        finally:
            unmount_disk(folder)
    else:
        say("no disk is filled: only root may mount a small one")
        yield [fault for fault in faults if fault.kind != "disk"]


def _restart(server: Postgres) -> None:
    server.stop(crash=True)
    server.start()


def photograph() -> bytes:
    """A small picture with edges, PNG."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[16:48, 16:48] = 200
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
