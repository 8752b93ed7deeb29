"""What every route needs, made once by `app.create_app` and handed to the routes by FastAPI."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request

from controlnet.bundle import Manifest
from serve.api.ends import Ends
from serve.api.streams import Streams
from serve.config import Settings
from serve.errors import ModelNotReady
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.signals import Signals
from serve.jobs.store import READY, JobStore, ModelVersion
from serve.telemetry import ApiMetrics, Tracing
from serve.tenancy.tenancy import Tenancy


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

    async def serving(self) -> Served | None:
        """What is served now, if anything is."""
        model = await to_thread.run_sync(self.store.serving, self.settings.model)
        if model is None:
            return None
        version = ModelVersion(model.name, model.version, model.digest)
        return Served(version, _manifest(json.dumps(dict(model.manifest))))

    async def model(self) -> Served:
        """What is served now.

        Raises:
            ModelNotReady: Nothing is.
        """
        served = await self.serving()
        if served is None:
            raise ModelNotReady("No model is loaded yet; try again in a moment.", retry_after_s=5)
        return served

    async def warm(self) -> Served:
        """What is served now, if samplers have it loaded: the pointer alone outlives a restart of everything.

        Raises:
            ModelNotReady: Nothing is served, or nobody says that samplers are ready.
        """
        served = await self.model()
        if not await to_thread.run_sync(self.store.locked, READY):
            raise ModelNotReady("The model is being loaded; try again in a moment.", retry_after_s=5)
        return served


@lru_cache(maxsize=8)
def _manifest(text: str) -> Manifest:
    """Parsed once per model, not once per request. From text, where strict validation takes lists for tuples."""
    return Manifest.model_validate_json(text)


def context(request: Request) -> Context:
    """The context of the app that serves this request."""
    found: Context = request.app.state.context
    return found


InContext = Annotated[Context, Depends(context)]
