"""What every route needs, made once by `app.create_app` and handed to the routes by FastAPI."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, TypeVar, TypeVarTuple

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request

from controlnet.bundle import Manifest
from serve.api.ends import Ends
from serve.api.streams import Streams
from serve.config import Settings
from serve.errors import ModelNotReady
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.signals import Signals
from serve.jobs.store import READY, JobStore, ModelVersion, ServedModel
from serve.telemetry import ApiMetrics, Tracing
from serve.tenancy.tenancy import Tenancy

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


@dataclass(frozen=True, slots=True)
class Served:
    """The model that new jobs get."""

    version: ModelVersion
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Context:
    """The api's collaborators.

    Attributes:
        clock: Epoch seconds.
        random_seed: A seed for whoever gave none, 0 .. 2**32 - 1.
        streams: Those that are open.
        tracing: Of the process.
        ends: Of jobs that clients wait for.
        health: The store, for looks at how things are: over connections that no request takes.
        looks: Bounds the threads for these.
    """

    settings: Settings
    store: JobStore
    tenancy: Tenancy
    artifacts: ArtifactStore
    signals: Signals
    metrics: ApiMetrics
    clock: Callable[[], float]
    random_seed: Callable[[], int]
    streams: Streams
    tracing: Tracing
    ends: Ends
    health: JobStore
    looks: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))

    async def look(self, call: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        """Call a method of `health` in a thread that no request takes: it waits for nobody's work."""
        return await to_thread.run_sync(call, *arguments, limiter=self.looks)

    async def serving(self) -> Served | None:
        """What is served now, if anything is."""
        model = await to_thread.run_sync(self.store.serving, self.settings.model)
        return None if model is None else _served(model)

    async def model(self) -> Served:
        """What is served now.

        Raises:
            ModelNotReady: Nothing is.
        """
        served = await self.serving()
        if served is None:
            raise _nothing()
        return served

    async def warm(self) -> Served:
        """What is served now, if samplers have it loaded: the pointer alone outlives a restart of everything.

        Raises:
            ModelNotReady: Nothing is served, or nobody says that samplers are ready.
        """
        model = await self.look(self.health.serving, self.settings.model)
        if model is None:
            raise _nothing()
        if not await self.look(self.health.locked, READY):
            raise ModelNotReady("The model is being loaded; try again in a moment.", retry_after_s=5)
        return _served(model)


def _nothing() -> ModelNotReady:
    return ModelNotReady("No model is loaded yet; try again in a moment.", retry_after_s=5)


def _served(model: ServedModel) -> Served:
    version = ModelVersion(model.name, model.version, model.digest)
    return Served(version, _manifest(json.dumps(dict(model.manifest))))


@lru_cache(maxsize=8)
def _manifest(text: str) -> Manifest:
    """Parsed once per model, not once per request. From text, where strict validation takes lists for tuples."""
    return Manifest.model_validate_json(text)


async def context(request: Request) -> Context:
    """The context of the app that serves this request; async, or FastAPI would wait for a thread to call it."""
    found: Context = request.app.state.context
    return found


InContext = Annotated[Context, Depends(context)]
