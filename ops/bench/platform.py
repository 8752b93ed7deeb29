"""The whole platform as something that is measured: `cnserve up` on one machine, its sampler on so many threads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.bench import processor
from ops.bench.client import Server
from ops.faults.rig import ROLES, Rig
from serve.config import Settings

NAMES = {{"controller": "Serve's controller"}.get(role, role): text for role, text in ROLES.items()}
OTHER = "Ray's own"

DEFAULTS = {"CN_RECONCILE_EVERY": str(Settings.model_fields["reconcile_every"].default)}
"""What the rig sets for the sake of tests, as it is for a user."""


@dataclass(frozen=True, slots=True, eq=False)
class Platform:
    """One that is ready.

    Attributes:
        rig: Holds it.
        roles: What each of its processes is, by id.
    """

    rig: Rig
    roles: dict[int, str]

    @property
    def server(self) -> Server:
        """For a client."""
        return Server("platform", self.rig.url, {"Authorization": f"Bearer {self.rig.key}"}, told=True)

    def processor_seconds(self) -> dict[str, float]:
        """By role, so far."""
        return processor.seconds(self.roles)


@contextmanager
def platform(threads: int) -> Iterator[Platform]:
    """One of its own, on SQLite and a folder that is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="cn-bench-") as folder,
        Rig(Path(folder), settings={"CN_SAMPLER_THREADS": str(threads), **DEFAULTS}) as rig,
    ):
        yield Platform(rig, processor.roles(rig.processes(), NAMES, OTHER))
