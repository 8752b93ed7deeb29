"""Imaging: a CPU replica that touches pixels. Decode, resize and annotate before sampling; encode PNGs after it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import ray

from serve.config import Settings
from serve.deployments.instruments import RayInstruments
from serve.deployments.messages import Prepared, Steered
from serve.imaging.adherence import adherence
from serve.imaging.decode import Decoder
from serve.imaging.maps import make_map
from serve.imaging.png import encode_png
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.spec import ControlSpec, JobSpec
from serve.jobs.store import StoredImage, StoredMap
from serve.telemetry import ImagingMetrics, configure_logging

Pixels = npt.NDArray[np.uint8]

log = logging.getLogger(__name__)


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
        self._metrics = ImagingMetrics(RayInstruments())

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
                key = await self._store(tenant, pixels, {})
                stored.append(StoredMap(key=key, type=control.type, index=i))
        return Prepared(tuple(stored), ray.put(maps), time.monotonic() - began)

    async def publish(
        self, tenant: str, pixels: Pixels, seed: int, parameters: Mapping[str, Any], steered: Steered | None = None
    ) -> StoredImage:
        """Encode one finished image with its parameters inside and store it; Ray hands `pixels` over by reference.

        Args:
            tenant: Whose it is.
            pixels: uint8 [H, W, 3].
            seed: That made it.
            parameters: For the file.
            steered: The map that it is to be compared with, if it is one of those that are.
        """
        key = await self._store(tenant, pixels, parameters)
        if steered is not None:
            await self._compare(pixels, steered)
        return StoredImage(key=key, seed=seed, width=pixels.shape[1], height=pixels.shape[0])

    async def _store(self, tenant: str, pixels: Pixels, parameters: Mapping[str, Any]) -> str:
        with self._metrics.png():
            png = await asyncio.to_thread(encode_png, pixels, parameters)
        with self._metrics.artifact("write"):
            return await self._artifacts.put(tenant, png, ".png")

    async def _compare(self, pixels: Pixels, steered: Steered) -> None:
        """Count how well a picture follows its map. A failure here is worth no picture."""
        try:
            maps: list[list[Pixels]] = await steered.hints
            of_control = maps[steered.control]
            control_map = of_control[steered.image if len(of_control) > 1 else 0]
            f1 = await asyncio.to_thread(adherence, pixels, control_map, steered.low, steered.high)
            self._metrics.adherence(f1, steered.version)
        except Exception:
            log.exception("no adherence")

    async def _map(self, tenant: str, spec: JobSpec, control: ControlSpec, c: int, i: int) -> Pixels:
        with self._metrics.artifact("read"):
            data = await self._artifacts.get(control.images[i], tenant)
        source = "map" if control.annotator == "none" else "image"
        field = f"controls.{c}.{source}" + (f".{i}" if len(control.images) > 1 else "")
        if spec.kind == "map":
            field = source  # the request was about nothing else
        with self._metrics.picture():
            picture = await asyncio.to_thread(self._decoder.decode, data, field)
        with self._metrics.annotate(control.annotator):
            return await asyncio.to_thread(
                make_map, picture, control.annotator, control.parameters, spec.width, spec.height
            )
