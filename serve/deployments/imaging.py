"""Imaging: a CPU replica that touches pixels. Decode, resize and annotate before sampling; encode PNGs after it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import ray

from serve.config import Settings
from serve.deployments.messages import Prepared
from serve.imaging.decode import Decoder
from serve.imaging.maps import make_map
from serve.imaging.png import encode_png
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.spec import ControlSpec, JobSpec
from serve.jobs.store import StoredImage, StoredMap
from serve.telemetry import configure_logging

Pixels = npt.NDArray[np.uint8]


class Imaging:
    """Reads pictures from the artifact store, writes maps and finished images to it; never sees SQL.

    Annotators are called one by one: those that exist take a millisecond, so collecting a `@serve.batch` would cost
    more than it saves. A learned annotator is what would change that.

    Args:
        settings: Of the platform.
    """

    def __init__(self, settings: Settings) -> None:
        configure_logging(settings.log_level)
        cv2.setNumThreads(1)  # replicas are what runs in parallel here
        self._artifacts = ArtifactStore.open(settings.artifacts_url, settings.artifacts_options)
        self._decoder = Decoder(max_pixels=settings.max_pixels_in)

    async def prepare(self, tenant: str, spec: JobSpec) -> Prepared:
        """Make the control maps of a job.

        Raises:
            ServeError: A picture cannot be decoded; the error names the control's field.
        """
        began = time.monotonic()
        maps: list[list[Pixels]] = []
        stored: list[StoredMap] = []
        for c, control in enumerate(spec.controls):
            made = [await self._map(tenant, spec, control, c, i) for i in range(len(control.images))]
            maps.append(made)
            for i, pixels in enumerate(made):
                png = await asyncio.to_thread(encode_png, pixels, {})
                key = await self._artifacts.put(tenant, png, ".png")
                stored.append(StoredMap(key=key, type=control.type, index=i))
        return Prepared(tuple(stored), ray.put(maps), time.monotonic() - began)

    async def publish(self, tenant: str, pixels: Pixels, seed: int, parameters: Mapping[str, Any]) -> StoredImage:
        """Encode one finished image with its parameters inside and store it; Ray hands `pixels` over by reference."""
        png = await asyncio.to_thread(encode_png, pixels, parameters)
        key = await self._artifacts.put(tenant, png, ".png")
        return StoredImage(key=key, seed=seed, width=pixels.shape[1], height=pixels.shape[0])

    async def _map(self, tenant: str, spec: JobSpec, control: ControlSpec, c: int, i: int) -> Pixels:
        data = await self._artifacts.get(control.images[i], tenant)
        source = "map" if control.annotator == "none" else "image"
        field = f"controls.{c}.{source}" + (f".{i}" if len(control.images) > 1 else "")
        if spec.kind == "map":
            field = source  # the request was about nothing else
        picture = await asyncio.to_thread(self._decoder.decode, data, field)
        return await asyncio.to_thread(
            make_map, picture, control.annotator, control.parameters, spec.width, spec.height
        )
