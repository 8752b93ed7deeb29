"""What is so, as opposed to what happened: the queue, the leases, the served version; looked at every few seconds."""

from __future__ import annotations

import asyncio
import logging
from typing import get_args

from serve.jobs.database import StoreUnavailable, tell_away
from serve.jobs.signals import Signals
from serve.jobs.store import READY, JobStore
from serve.registry.reconciler import Reconciler, Stage
from serve.telemetry import DispatcherMetrics
from serve.tenancy.keys import Keys

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0  # half of what Ray takes to tell of a gauge


class Gauges:
    """Keeps a dispatcher's gauges true. Several dispatchers see the same store and say the same: take the maximum.

    Args:
        store: Looked at.
        keys: Looked at.
        reconciler: Says what keeps the champion from being served.
        signals: Say for how long they have been cut off.
        metrics: Told.
        model: The name of the registered model.
    """

    def __init__(
        self,
        store: JobStore,
        keys: Keys,
        reconciler: Reconciler,
        signals: Signals,
        metrics: DispatcherMetrics,
        model: str,
    ) -> None:
        self._store = store
        self._keys = keys
        self._reconciler = reconciler
        self._signals = signals
        self._metrics = metrics
        self._model = model

    async def loop(self) -> None:
        """Look, for ever."""
        while True:
            self._metrics.cut_off(self._signals.cut_off_s)
            self._metrics.fault(self._reconciler.status.fault, get_args(Stage))
            try:
                await asyncio.to_thread(self.look)
            except StoreUnavailable as error:
                self._metrics.store_away()
                tell_away(log, error)
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Look once.

        Raises:
            StoreUnavailable: It can't be looked at now; the gauges stay as they were.
        """
        self._metrics.census(self._store.census())
        self._metrics.ready(self._store.locked(READY))
        served = self._store.serving(self._model)
        if served is not None:
            self._metrics.serving(served.name, served.version)
        self._metrics.key_expiry(self._keys.next_expiry())
