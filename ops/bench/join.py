"""C4: how long an image waits for its first step while others run and there is a free seat."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import replace

from ops.bench.bench import Bench
from ops.bench.crowds import uniform
from ops.bench.equality import require_equal, require_same_bytes
from ops.bench.figure import Figure, percentile
from ops.bench.runs import Crowd, engine_of, image_of, one_at_a_time

NEIGHBOURS = 2  # images that run all the while; with a third, 6 of 8 rows are taken


def measure(bench: Bench) -> list[Figure]:
    """Images come at random moments of a step, each when the one before has its picture, and are submitted at once."""
    subject, effort = bench.tiny, bench.effort
    model = bench.model(subject)
    require_same_bytes(model, subject)
    draw = random.Random(0)
    newcomers = uniform(subject, effort.joins, 2)
    newcomers = {f"new {name}": replace(spec, seed=1000 + spec.seed) for name, spec in newcomers.items()}
    seconds: list[float] = []
    crowd, engine = Crowd(), engine_of(model, observer=lambda batch, took: seconds.append(took))
    engine.start()
    for name, spec in uniform(subject, NEIGHBOURS, 999).items():
        engine.submit(image_of(f"old {name}", spec), crowd)
    delays: list[float] = []
    for i, (name, spec) in enumerate(newcomers.items()):
        time.sleep(draw.random() * (statistics.median(seconds) if seconds else 0.0))
        arrived = time.perf_counter()
        engine.submit(image_of(name, spec), crowd)
        crowd.wait(i + 1)
        delays.append(crowd.started_at[name] - arrived)
    for name in uniform(subject, NEIGHBOURS, 999):
        engine.cancel(f"old {name}")
    engine.stop()
    apart = require_equal(crowd.pictures, one_at_a_time(subject, newcomers).pictures)
    step = statistics.median(seconds)
    return [
        Figure(
            "C4",
            "from arrival to the first step, in steps, 99 of 100 images",
            percentile(delays, 0.99) / step,
            target=1.2,
            at_most=True,
            detail={
                "median_steps": statistics.median(delays) / step,
                "step_seconds": step,
                "joins": len(delays),
                "levels_apart": apart,
            },
        )
    ]
