"""How far the version that a registry's champion names is served: told by the reconciler, read by api and commands.

It stands beside the locks, as what is believed for a while: where nobody tells it again, no platform runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Literal

import sqlalchemy as sa

from serve.jobs.clock import until
from serve.jobs.database import soft, upsert
from serve.jobs.schema import locks

PREFIX = "rollout/"

RolloutState = Literal["served", "loading", "failed"]

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "store": "the job store can't be used",
        "resolve": "the registry can't tell the champion",
        "champion": "the registry names no champion",
        "fetch": "its bundle can't be fetched",
        "prepare": "samplers can't load it",
    }
)
"""What keeps a version from being served, by the stage at which it failed."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far a model's champion is served.

    Attributes:
        model: Its registered name.
        state: `served`: samplers hold it and new jobs get it; `loading`; `failed`: it is tried again, later and later.
        wanted: The version that was the champion when the registry last answered; none before it did.
        serving: The version that new jobs get; none before the first.
        fault: A stage of `FAULTS`; none where nothing failed.
        reason: What failed there, as a sentence.
    """

    model: str
    state: RolloutState
    wanted: str | None
    serving: str | None
    fault: str | None = None
    reason: str | None = None

    def sentence(self) -> str:
        """All of it, for people: `demo: wanted version 3, serving version 1, because samplers can't load it: ...`."""
        if self.wanted is not None and self.wanted == self.serving:
            told = f"version {self.serving} is {'served' if self.state == 'served' else 'not loaded'}"
        else:
            wanted, serving = (f"version {one}" if one else "no version" for one in (self.wanted, self.serving))
            told = f"wanted {wanted}, serving {serving}"
        if self.fault is not None:
            link = "but" if self.state == "served" else "because"
            told += f", {link} {FAULTS.get(self.fault, self.fault)}: {self.reason}"
        elif self.state != "served":
            told += ", because it is being loaded"
        return f"{self.model}: {told}"


class Rollouts:
    """Those of a database.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float]) -> None:
        self._reads = engine
        self._soft = soft(engine)
        self._clock = clock

    def show(self, rollout: Rollout, ttl_s: float) -> None:
        """Say it, to be believed for `ttl_s` seconds; 0 takes it back."""
        with self._soft.begin() as connection:
            values = {"owner": json.dumps(asdict(rollout)), "until": until(self._clock(), ttl_s)}
            write = upsert(connection, locks).values(name=PREFIX + rollout.model, **values)
            connection.execute(write.on_conflict_do_update(index_elements=["name"], set_=values))

    def of(self, model: str) -> Rollout | None:
        """That of one model; none where no platform says one."""
        return next((rollout for rollout in self.current() if rollout.model == model), None)

    def current(self) -> tuple[Rollout, ...]:
        """Those that are believed now, by model."""
        with self._reads.connect() as connection:
            return current(connection, self._clock())


def current(connection: sa.Connection, now: float) -> tuple[Rollout, ...]:
    """Those that are believed now, by model."""
    query = sa.select(locks.c.owner).where(locks.c.name.startswith(PREFIX, autoescape=True), locks.c.until > now)
    told = [json.loads(text) for text in connection.scalars(query.order_by(locks.c.name))]
    # A later version may say more.
    return tuple(Rollout(**{one.name: data.get(one.name) for one in fields(Rollout)}) for data in told)
