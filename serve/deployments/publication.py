"""What goes along with a finished image: the parameters inside its file, and the map that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from controlnet.evaluation.metrics import CANNY
from controlnet.warnings import ResultWarning
from serve.deployments.messages import Steered
from serve.jobs.store import Job


def steered(job: Job, index: int) -> Steered | None:
    """The canny map that image `index` was to follow; none where there was none."""
    for c, control in enumerate(job.spec.controls):
        if control.type == "canny":
            low, high = (control.parameters.get(name, CANNY[name]) for name in ("low_threshold", "high_threshold"))
            return Steered(c, index, low, high, job.model.version)
    return None


def png_parameters(job: Job, seed: int, warnings: Sequence[ResultWarning] = ()) -> dict[str, Any]:
    """What a PNG says of itself: all that is needed to make it again, its warnings, and nothing of the tenant."""
    spec = replace(job.spec, seeds=(seed,))
    parameters = asdict(spec) | {"seed": seed, "model": job.model.name}
    parameters |= {"model_version": job.model.version, "model_digest": job.model.digest}
    del parameters["seeds"]
    for control in parameters["controls"]:
        del control["images"]  # artifact keys carry the tenant's name
    if warnings:
        parameters["warnings"] = [asdict(warning) for warning in warnings]
    return parameters
