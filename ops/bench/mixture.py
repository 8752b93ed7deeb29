"""C2: a backlog of images that differ in everything, against one of equal images."""

from __future__ import annotations

import statistics

from ops.bench.bench import Bench
from ops.bench.crowds import mixed, uniform
from ops.bench.equality import require_equal, require_same_bytes
from ops.bench.figure import Figure, paired
from ops.bench.runs import image_steps, one_at_a_time, together


def measure(bench: Bench) -> list[Figure]:
    """Image-steps a second, mixed / uniform, the uniform images as long as the mixed ones are on average."""
    subject, effort = bench.tiny, bench.effort
    model = bench.model(subject)
    require_same_bytes(model, subject)
    reference = one_at_a_time(subject, mixed(subject, effort.backlog, effort.mixed_steps))
    mean = round(statistics.mean(effort.mixed_steps))
    rates: dict[str, list[float]] = {"mixed": [], "uniform": []}
    apart, padding = 0, 0.0
    for _ in range(effort.rounds):
        equal = uniform(subject, effort.backlog, mean)
        rates["uniform"].append(image_steps(equal) / together(model, equal).seconds)
        specs = mixed(subject, effort.backlog, effort.mixed_steps)
        run = together(model, specs)
        rates["mixed"].append(image_steps(specs) / run.seconds)
        apart = max(apart, require_equal(run.pictures, reference.pictures))
        padding = run.stats.padding / (run.stats.rows + run.stats.padding)
    return [
        Figure(
            "C2",
            "mixed steps, guidance, windows and controls / uniform, image-steps a second",
            paired(rates["mixed"], rates["uniform"]),
            target=0.85,
            detail={
                "mixed_image_steps_per_second": statistics.median(rates["mixed"]),
                "uniform_image_steps_per_second": statistics.median(rates["uniform"]),
                "padding_share_of_rows": padding,
                "levels_apart": apart,
            },
        )
    ]
