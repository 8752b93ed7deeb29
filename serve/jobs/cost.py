"""What a job costs: UNet rows, which take seats, and operations, which take time and are what teams share.

Known before the job runs and whatever runs beside it, because everything that decides it is in the spec: size, steps,
guidance, each control's window. Prices are those of `controlnet.flops`; nothing here has tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlnet.architecture import Architecture
from controlnet.flops import flops
from serve.jobs.spec import ControlSpec, JobSpec

GIGA = 1e9
MAP_FLOP_PER_PIXEL = 1_000
"""Of making a control map on a CPU: filters of some hundred operations a pixel, reading and writing the picture."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all images of a job.

    Attributes:
        rows: Seats in UNet batches; none for a job that only makes control maps.
        gflop: Work in 10^9 operations.
        steps: Of the images, which are stepped together.
        step_gflop: Of one step of all images, the mean over the steps.
    """

    rows: int = 0
    gflop: float = 0.0
    steps: int = 0
    step_gflop: float = 0.0


FREE = Cost()
"""Of jobs whose cost nobody knows: those of before costs were counted."""


def cost(spec: JobSpec, architecture: Architecture) -> Cost:
    """Price a job.

    Args:
        spec: Its size is a multiple of the architecture's.
        architecture: Of the bundle that makes it.
    """
    maps = MAP_FLOP_PER_PIXEL * spec.width * spec.height * sum(max(1, len(c.images)) for c in spec.controls)
    if spec.kind == "map":
        return Cost(gflop=maps / GIGA)
    price = flops(architecture, spec.height, spec.width)
    controlled = sum(_rows(control, spec) * acting(control, spec.steps) for control in spec.controls)
    stepping = spec.rows * spec.steps * price.unet + controlled * price.control
    around = spec.rows * price.text + len(spec.controls) * price.hint + price.decode
    return Cost(
        rows=spec.n * spec.rows,
        gflop=(spec.n * (stepping + around) + maps) / GIGA,
        steps=spec.steps,
        step_gflop=spec.n * stepping / spec.steps / GIGA,
    )


def acting(control: ControlSpec, steps: int) -> int:
    """In how many steps a control acts: those that its window covers wholly, as in `controlnet.pipeline`."""
    return sum(i / steps >= control.start and (i + 1) / steps <= control.end for i in range(steps))


def _rows(control: ControlSpec, spec: JobSpec) -> int:
    """Rows of an image that the control acts on: `guess` leaves the unconditional one alone."""
    return 1 if control.mode == "guess" else spec.rows
