"""G1 to G5, each a ratio, so that a figure means the same on the next device.

Of a comparison's two sides each is run in turn, and of each the median counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median

from ops.bench.figure import percentile
from ops.bench.gpu import naive
from ops.bench.gpu.engine import Engine, Run, Way
from ops.bench.gpu.lanes import tuned
from ops.bench.gpu.networks import Image, Images, Networks

SETTLING = 2  # steps at the start of a run that are not timed


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        goal: G1 .. G5.
        what: It is.
        value: Measured.
        unit: Empty for ratios.
        target: To reach, if it is a goal.
        at_most: The target is a ceiling, not a floor.
    """

    goal: str
    what: str
    value: float
    unit: str = ""
    target: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target


def step_ms(engine: Engine, rows: int, supply: Iterator[Image], steps: int) -> float:
    """Of one step, without decoding."""
    return median(engine.run(rows, supply, steps + SETTLING).step_ms[SETTLING:])


def tflops(engine: Engine, run: Run) -> float:
    """What the UNet and the controls did in a run, 10^12 operations a second; padding and hints don't count."""
    cost = engine.size.cost
    return 2 * (run.image_steps * cost.unet + run.control_steps * cost.control) / run.seconds / 1e12


@dataclass(frozen=True, slots=True)
class Goals:
    """What the goals are measured with.

    Attributes:
        reference: The networks that make one image at a time.
        engine: The best way, ready.
        serial: The same without a lane for controls, its smallest bucket ready.
        inline: The same that decodes in its main lane, its largest bucket ready.
        images: To make.
        peak: Operations a second that the device is said to give, in 10^12.
    """

    reference: Networks
    engine: Engine
    serial: Engine
    inline: Engine
    images: Images
    peak: float

    def measure(self) -> Iterator[Figure]:
        """All of them, in order, each goal's as soon as it is measured."""
        yield from self.throughput_and_latency()
        yield from self.mixture()
        yield from self.controls()
        yield from self.decoding()

    def throughput_and_latency(self) -> list[Figure]:
        """G1 and G2: the engine's images a second and one image's time, against one image after another."""
        size, engine = self.engine.size, self.engine
        alone: list[float] = []
        latency: list[float] = []
        rates: dict[int, list[float]] = {rows: [] for rows in engine.buckets}
        for _ in range(size.repeats):
            alone += [self._reference_seconds(image) for image in islice(self.images.alike(), 2)]
            latency.append(engine.run(2, self.images.alike(), size.steps, decode=True, stagger=False).seconds)
            for rows, found in rates.items():
                run = engine.run(rows, self.images.alike(), 3 * size.steps, decode=True)
                found.append(len(run.pictures) / run.seconds)
        best = max(rates, key=lambda rows: median(rates[rows]))
        figures = [
            Figure("G1", f"images/s at {rows} rows{_by_hand(engine, rows)}", median(rates[rows]), "/s")
            for rows in sorted(rates)
        ]
        ms = step_ms(engine, best, self.images.alike(), size.steps)
        did = best * (size.cost.unet + size.cost.control) / (ms / 1000) / 1e12
        return [
            Figure("G1", "one image at a time, images/s", 1 / median(alone), "/s"),
            *figures,
            Figure("G1", f"times as many images/s, at {best} rows", median(rates[best]) * median(alone), "", 4.0),
            Figure("G1", f"step at {best} rows", ms, "ms"),
            Figure("G1", f"of {self.peak:g} TFLOP/s in a step at {best} rows", did / self.peak, "", 0.40),
            Figure("G2", "one image alone, the reference", 1000 * median(alone), "ms"),
            Figure("G2", "one image alone, the engine", 1000 * median(latency), "ms"),
            Figure("G2", "times as fast", median(alone) / median(latency), "", 2.0),
        ]

    def mixture(self) -> list[Figure]:
        """G3: mixed steps, guidance, windows and two controls, against all alike in the same bucket."""
        size, engine = self.engine.size, self.engine
        alike, mixed = [], []
        for _ in range(size.repeats):
            alike.append(engine.run(size.largest, self.images.alike(), 3 * size.steps))
            mixed.append(engine.run(size.largest, self.images.mixed(), 3 * size.steps))
        rates = [median([run.image_steps / run.seconds for run in runs]) for runs in (alike, mixed)]
        work = [median([tflops(engine, run) for run in runs]) for runs in (alike, mixed)]
        return [
            Figure("G3", "all alike, image steps/s", rates[0], "/s"),
            Figure("G3", "mixed, image steps/s", rates[1], "/s"),
            Figure("G3", "mixed / alike, image steps/s", rates[1] / rates[0], "", 0.90),
            Figure("G3", "mixed / alike, FLOP/s (windows spare the mixed some controls)", work[1] / work[0]),
        ]

    def controls(self) -> list[Figure]:
        """G4: what a control adds to a step."""
        size, engine, steps = self.engine.size, self.engine, 2 * self.engine.size.steps
        targets = {(2, 1): 1.20, (size.middle, 1): 1.37, (size.middle, 3): 2.1}
        times: dict[tuple[int, int, bool], list[float]] = {}
        for _ in range(size.repeats):
            for rows, counts in ((2, (0, 1)), (size.middle, (0, 1, 3))):
                for count in counts:
                    supply = self.images.alike(tuple(range(count)))
                    times.setdefault((rows, count, True), []).append(step_ms(engine, rows, supply, steps))
            times.setdefault((2, 1, False), []).append(step_ms(self.serial, 2, self.images.alike(), steps))
        ratios = {key: median(found) / median(times[key[0], 0, True]) for key, found in times.items() if key[1]}
        return [
            Figure(
                "G4",
                f"step with {count} control{'s' * (count > 1)} / with none, {rows} rows"
                + ("" if overlap else ", one after the other"),
                ratio,
                "",
                targets[rows, count] if overlap else None,
                at_most=True,
            )
            for (rows, count, overlap), ratio in sorted(ratios.items())
        ]

    def decoding(self) -> list[Figure]:
        """G5: what decoding costs the images that are still being made."""
        size = self.engine.size
        rows, steps = size.largest, 2 * size.steps
        without, beside, inline = [], [], []
        for _ in range(size.repeats):
            without.append(self.engine.run(rows, self.images.alike(), steps))
            beside.append(self.engine.run(rows, self.images.alike(), steps, decode=True))
            inline.append(self.inline.run(rows, self.images.alike(), steps, decode=True))
        usual = median([median(run.step_ms[SETTLING:]) for run in without])
        base = median([run.seconds for run in without])
        figures = []
        for name, runs, target in (("in a lane of its own", beside, True), ("between steps", inline, False)):
            kept = base / median([run.seconds for run in runs])
            slow = percentile([ms for run in runs for ms in run.step_ms[SETTLING:]], 0.99) / usual
            figures += [
                Figure("G5", f"images/s decoding {name} / latents only", kept, "", 0.90 if target else None),
                Figure(
                    "G5",
                    f"p99 step decoding {name} / median step",
                    slow,
                    "",
                    1.5 if target else None,
                    at_most=True,
                ),
            ]
        return figures

    def _reference_seconds(self, image: Image) -> float:
        with tuned(benchmark=False):
            begin = time.perf_counter()
            naive.make(self.reference, image)  # ends on the CPU
            return time.perf_counter() - begin


@dataclass(frozen=True, slots=True)
class Rung:
    """A step of a bucket, run in one way: milliseconds, and 10^12 operations a second."""

    way: str
    rows: int
    ms: float
    tflops: float


def rung(engine: Engine, rows: int, images: Images, steps: int) -> Rung:
    """Time a step with one control."""
    ms = step_ms(engine, rows, images.alike(), steps)
    cost = engine.size.cost
    return Rung(engine.way.name, rows, ms, rows * (cost.unet + cost.control) / (ms / 1000) / 1e12)


PLAIN = Way("eager, attention by its formula", flash=False)
EAGER = Way("eager, fused attention (as the reference)")
LAST = Way("+ channels_last, cuDNN tuned", channels_last=True)
GRAPHS = replace(LAST, name="+ CUDA graphs", graphs=True)
BESIDE = replace(GRAPHS, name="+ control beside the way down", overlap=True)
BEST = replace(BESIDE, name="+ torch.compile", compiled=True)

LADDER = (PLAIN, EAGER, LAST, GRAPHS, BESIDE)  # and BEST, which is the engine


def _by_hand(engine: Engine, rows: int) -> str:
    return "" if engine.compiled[rows] else " (not compiled: no time was left)"
