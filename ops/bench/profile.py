"""Where the time of one step goes, by operator of torch."""

from __future__ import annotations

from torch.profiler import ProfilerActivity, profile

from ops.bench.bench import Bench
from ops.bench.crowds import uniform
from ops.bench.table import Table

SHOWN = 12
STEPS = 5


def measure(bench: Bench) -> list[Table]:
    """The demo's step with one image and with eight, both guided and controlled."""
    return [of_step(bench, images) for images in (1, 8)]


def of_step(bench: Bench, images: int) -> Table:
    """Self time of the operators, the longest first. The profiler slows a step down: read the shares."""
    subject = bench.demo
    states = subject.pipeline.encode(list(uniform(subject, images, 20).values()))
    for _ in range(2):
        subject.pipeline.step(states)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(STEPS):
            subject.pipeline.step(states)
    operators = sorted(profiler.key_averages(), key=lambda one: one.self_cpu_time_total, reverse=True)
    total = sum(one.self_cpu_time_total for one in operators)
    rows: list[list[str | float]] = [
        [one.key, one.self_cpu_time_total / total, one.self_cpu_time_total / STEPS / 1000, one.count / STEPS]
        for one in operators[:SHOWN]
    ]
    rest = operators[SHOWN:]
    left = sum(one.self_cpu_time_total for one in rest)
    rows.append(["all others", left / total, left / STEPS / 1000, sum(one.count for one in rest) / STEPS])
    return Table(
        f"One step of {subject.name}, images: {images}", ["operator", "share", "milliseconds", "calls a step"], rows
    )
