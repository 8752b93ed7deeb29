"""What imaging and samplers count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from serve.errors import ServeError
from serve.telemetry.instruments import Instruments
from serve.telemetry.names import METRICS


class ImagingMetrics:
    """What imaging counts.

    Args:
        make: `ray.util.metrics` in a replica.
        clock: Seconds that only grow.
    """

    def __init__(self, make: Instruments, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._picture = make.histogram(METRICS["cn_picture_seconds"])
        self._annotate = make.histogram(METRICS["cn_annotate_seconds"])
        self._png = make.histogram(METRICS["cn_png_seconds"])
        self._artifact = make.histogram(METRICS["cn_artifact_seconds"])
        self._artifact_errors = make.counter(METRICS["cn_artifact_errors_total"])
        self._adherence = make.histogram(METRICS["cn_adherence_ratio"])
        for operation in ("read", "write"):
            self._artifact_errors.inc(0, {"operation": operation})

    @contextmanager
    def picture(self) -> Iterator[None]:
        """Time the decoding of an upload."""
        began = self._clock()
        yield
        self._picture.observe(self._clock() - began)

    @contextmanager
    def annotate(self, annotator: str) -> Iterator[None]:
        """Time the making of a map."""
        began = self._clock()
        yield
        self._annotate.observe(self._clock() - began, {"annotator": annotator})

    @contextmanager
    def png(self) -> Iterator[None]:
        """Time the encoding of a picture."""
        began = self._clock()
        yield
        self._png.observe(self._clock() - began)

    @contextmanager
    def artifact(self, operation: str) -> Iterator[None]:
        """Time a `read` or `write`, and count it where it fails."""
        began = self._clock()
        try:
            yield
        except Exception as error:
            if isinstance(error, ServeError) and error.status < 500:  # it is not there: whoever named it is told
                raise
            self._artifact_errors.inc(1, {"operation": operation})
            raise
        self._artifact.observe(self._clock() - began, {"operation": operation})

    def adherence(self, f1: float, version: str) -> None:
        """Count how well a picture's edges follow its map; `version` is the model's."""
        self._adherence.observe(f1, {"version": version})


class SamplerMetrics:
    """What a sampler counts.

    Args:
        make: `ray.util.metrics` in a replica.
    """

    def __init__(self, make: Instruments) -> None:
        self._step_seconds = make.histogram(METRICS["cn_step_seconds"])
        self._rows = make.counter(METRICS["cn_step_rows_total"])
        self._images = make.counter(METRICS["cn_images_total"])
        self._seat = make.histogram(METRICS["cn_seat_seconds"])
        self._encode = make.histogram(METRICS["cn_encode_seconds"])
        self._decode = make.histogram(METRICS["cn_decode_seconds"])
        self._engine = make.gauge(METRICS["cn_engine_images"])
        self._cache = make.counter(METRICS["cn_cache_total"])
        self._loads = make.counter(METRICS["cn_model_loads_total"])
        self._load_seconds = make.histogram(METRICS["cn_model_load_seconds"])
        self._memory = make.gauge(METRICS["cn_gpu_memory_bytes"])
        for counter, label, values in (
            (self._rows, "kind", ("used", "padding")),
            (self._images, "outcome", ("finished", "failed", "cancelled")),
            (self._cache, "outcome", ("hit", "miss")),
            (self._loads, "outcome", ("loaded", "failed")),
        ):
            for each in values:
                counter.inc(0, {label: each})

    def step(self, rows: int, bucket: int, seconds: float) -> None:
        """Count a step of `rows` rows that was padded up to `bucket`."""
        self._step_seconds.observe(seconds, {"bucket": str(bucket)})
        self._rows.inc(rows, {"kind": "used"})
        self._rows.inc(bucket - rows, {"kind": "padding"})

    def image(self, outcome: str) -> None:
        """Count an image: finished, failed or cancelled."""
        self._images.inc(1, {"outcome": outcome})

    def seated(self, seconds: float) -> None:
        """Time an image's wait for its first step."""
        self._seat.observe(seconds)

    def encoded(self, seconds: float) -> None:
        """Time the encoding of prompts and hints, as the engine's thread sees it."""
        self._encode.observe(seconds)

    def decoded(self, seconds: float) -> None:
        """Time the decoding of latents."""
        self._decode.observe(seconds)

    def engine(self, images: Mapping[str, int]) -> None:
        """Show how many images the engine holds, by state."""
        for state, count in images.items():
            self._engine.set(count, {"state": state})

    def cache(self, hit: bool) -> None:
        """Count a job's look for its bundle."""
        self._cache.inc(1, {"outcome": "hit" if hit else "miss"})

    def loaded(self, outcome: str, seconds: float) -> None:
        """Count a bundle that was loaded: `loaded`, or `failed`."""
        self._loads.inc(1, {"outcome": outcome})
        self._load_seconds.observe(seconds)

    def memory(self, kinds: Mapping[str, int]) -> None:
        """Show the GPU's memory in bytes, by kind."""
        for kind, size in kinds.items():
            self._memory.set(size, {"kind": kind})
