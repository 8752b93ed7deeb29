"""Imaging: a CPU replica that touches pixels. Pictures to maps before sampling, arrays to stored PNGs after it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from controlnet.annotators import make_map
from controlnet.evaluation.metrics import CANNY
from controlnet.warnings import ResultWarning, of_map
from serve.config import Settings
from serve.deployments.instruments import RayInstruments
from serve.deployments.messages import Maps, Steered, StoredMaps
from serve.imaging.adherence import adherence
from serve.imaging.decode import Decoder
from serve.imaging.png import encode_png
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.spec import ControlSpec, JobSpec
from serve.jobs.store import StoredImage, StoredMap
from serve.telemetry import ImagingMetrics, Tracing, configure_logging

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
        self._decoding = asyncio.Lock()  # one child decodes: who waits for it must not take the threads of others
        self._metrics = ImagingMetrics(RayInstruments())
        self._tracing = Tracing("imaging", settings.otlp_endpoint)

    async def annotate(self, tenant: str, spec: JobSpec, trace: str | None = None) -> Maps:
        """Make the control maps of a job.

        Args:
            tenant: Whose it is.
            spec: Names the pictures.
            trace: A `traceparent`, of a job that is traced.

        Raises:
            ServeError: A picture cannot be decoded; the error names the control's field.
        """
        began = time.monotonic()
        with self._tracing.span("imaging.annotate", trace):
            made = [
                [await self._map(tenant, spec, control, c, i) for i in range(len(control.images))]
                for c, control in enumerate(spec.controls)
            ]
        pixels = [[control_map for control_map, _ in of_control] for of_control in made]
        warnings = tuple(warning for of_control in made for _, found in of_control for warning in found)
        return Maps(pixels, time.monotonic() - began, warnings)

    async def store_maps(self, tenant: str, spec: JobSpec, maps: Maps, trace: str | None = None) -> StoredMaps:
        """Write the maps that `annotate` made; Ray hands them over by reference.

        Args:
            tenant: Whose they are.
            spec: What they were made for.
            maps: Pixels.
            trace: A `traceparent`, of a job that is traced.
        """
        with self._tracing.span("imaging.store_maps", trace):
            stored = [
                StoredMap(key=await self._store(tenant, pixels, {}), type=control.type, index=i)
                for control, of_control in zip(spec.controls, maps.pixels, strict=True)
                for i, pixels in enumerate(of_control)
            ]
        return StoredMaps(tuple(stored), maps.seconds, maps.warnings)

    async def publish(
        self,
        tenant: str,
        pixels: Pixels,
        seed: int,
        parameters: Mapping[str, Any],
        steered: Steered | None = None,
        maps: Maps | None = None,
        trace: str | None = None,
    ) -> StoredImage:
        """Encode one finished image with its parameters inside and store it; Ray hands `pixels` over by reference.

        Args:
            tenant: Whose it is.
            pixels: uint8 [H, W, 3].
            seed: That made it.
            parameters: For the file.
            steered: The map that it is to be compared with, if it is one of those that are.
            maps: Have that map.
            trace: A `traceparent`, of a job that is traced.
        """
        with self._tracing.span("imaging.publish", trace):
            key = await self._store(tenant, pixels, parameters)
            if steered is not None and maps is not None:
                await self._compare(pixels, steered, maps)
        return StoredImage(key=key, seed=seed, width=pixels.shape[1], height=pixels.shape[0])

    async def probe(self) -> None:
        """Decode, annotate and encode a small picture of nobody's: a dispatcher asks so whether imaging lives."""
        png = await asyncio.to_thread(encode_png, np.zeros((64, 64, 3), np.uint8), {})
        async with self._decoding:
            picture = await asyncio.to_thread(self._decoder.decode, png, "probe")
        await asyncio.to_thread(make_map, picture, "canny", CANNY, 64, 64)

    async def _store(self, tenant: str, pixels: Pixels, parameters: Mapping[str, Any]) -> str:
        with self._tracing.span("png"), self._metrics.png():
            png = await asyncio.to_thread(encode_png, pixels, parameters)
        with self._tracing.span("artifact.write"), self._metrics.artifact("write"):
            return await self._artifacts.put(tenant, png, ".png")

    async def _compare(self, pixels: Pixels, steered: Steered, maps: Maps) -> None:
        """Count how well a picture follows its map. A failure here is worth no picture."""
        try:
            of_control = maps.pixels[steered.control]
            control_map = of_control[steered.image if len(of_control) > 1 else 0]
            f1 = await asyncio.to_thread(adherence, pixels, control_map, steered.low, steered.high)
            self._metrics.adherence(f1, steered.version)
        except Exception:
            log.exception("no adherence")

    async def _map(
        self, tenant: str, spec: JobSpec, control: ControlSpec, c: int, i: int
    ) -> tuple[Pixels, list[ResultWarning]]:
        with self._tracing.span("artifact.read"), self._metrics.artifact("read"):
            data = await self._artifacts.get(control.images[i], tenant)
        ready = control.annotator == "none"
        source = "map" if ready else "image"
        field = f"controls.{c}.{source}" + (f".{i}" if len(control.images) > 1 else "")
        if spec.kind == "map":
            field = source  # the request was about nothing else
        async with self._decoding:
            with self._tracing.span("decode"), self._metrics.picture():
                picture = await asyncio.to_thread(self._decoder.decode, data, field, ready)
        with self._tracing.span("annotate"), self._metrics.annotate(control.annotator):
            pixels = await asyncio.to_thread(
                make_map, picture, control.annotator, control.parameters, spec.width, spec.height
            )
            names = {"control": control.type, "annotator": control.annotator}
            return pixels, await asyncio.to_thread(of_map, pixels, picture, field, **names)
