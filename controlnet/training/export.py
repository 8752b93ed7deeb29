"""Make a bundle of trained stages."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from controlnet.annotators import namesake
from controlnet.bundle import Bundle, ControlWeights, Defaults, write_bundle
from controlnet.evaluation.evaluate import evaluate
from controlnet.evaluation.metrics import CANNY
from controlnet.evaluation.sampling import Subject
from controlnet.evaluation.tracking import send_nothing_home
from controlnet.training.stages import load_base
from controlnet.training.store import read_summary

if TYPE_CHECKING:
    from mlflow import MlflowClient

PLACES = ("data/held_out", "data/train", "experiment", "folder", "mlflow", "progress")
"""Parameters of a run that say where it ran, not what it learned from."""


def export(
    folder: Path,
    target: Path,
    *,
    name: str,
    version: str,
    metrics: Mapping[str, float],
    training_data: str | Mapping[str, JsonValue],
    created: datetime,
    controls: Sequence[str] = ("canny",),
    size: int = 128,
    guidance: float = 3.0,
) -> Bundle:
    """Write the averaged weights of a run folder as a bundle in float16.

    Args:
        folder: of the run, with `vae`, `base`, `tokenizer` and `control-<name>` for each control.
        target: of the bundle; must not exist.
        name: of the model.
        version: of the weights.
        metrics: measured quality.
        training_data: what the model saw, in words or as data.
        created: with time zone.
        controls: names of trained controls; the annotator of that name makes their maps, if there is one.
        size: side of the pictures in training, pixels.
        guidance: what a request that names none gets.

    Raises:
        FileNotFoundError: if a stage is not trained.
        controlnet.bundle.BundleError: if the target is not empty or the manifest would be invalid.
    """
    pipeline = load_base(folder, {control: folder / f"control-{control}" for control in controls})
    parameters: dict[str, dict[str, float]] = {"canny": CANNY}
    return write_bundle(
        target,
        architecture=pipeline.architecture,
        unet=pipeline.unet.state_dict(),
        vae=pipeline.vae.state_dict(),
        text=pipeline.text.state_dict(),
        controls={
            control: ControlWeights(net.state_dict(), namesake(control), parameters.get(control, {}))
            for control, net in pipeline.controls.items()
        },
        tokenizer=folder / "tokenizer",
        name=name,
        version=version,
        native_size=(size, size),
        licence="Apache-2.0",
        training_data=training_data,
        metrics=metrics,
        created=created,
        defaults=Defaults(steps=20, guidance=guidance, negative_prompt="", sampler="ddim"),
    )


def parameters_of(stage: Path, client: MlflowClient | None) -> dict[str, JsonValue]:
    """Say how a stage was trained, by MLflow or its own summary, and which bundle it started from, if from one."""
    run, before, summary = stage / "mlflow-run", stage / "parameters.json", read_summary(stage)
    origin, earlier = summary.origin, json.loads(before.read_text()) if before.is_file() else {}
    if client is not None and run.is_file():
        told = client.get_run(run.read_text()).data.params
        parameters: dict[str, JsonValue] = {key: value for key, value in sorted(told.items()) if key not in PLACES}
    elif summary.record:
        parameters = dict(summary.record)
    else:
        return dict(earlier)
    if origin:
        parameters["started_from"] = {"bundle": origin, **earlier}
    return parameters


def main() -> None:
    """Measure the stages of a run folder on held-out parts, and export them with what was measured."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="run folder")
    parser.add_argument("target", type=Path, help="folder of the bundle, which must not exist")
    parser.add_argument("--count", type=int, default=0, help="held-out scenes to measure on, as `controlnet evaluate`")
    parser.add_argument("--measured", type=Path, help="evaluation.json whose metrics to take instead of measuring now")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in training, pixels")
    parser.add_argument("--control", default="canny", help="name of the trained control")
    parser.add_argument("--name", default="controlnet-demo")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--mlflow", help="tracking URI of the stages' runs: their hyperparameters go into the manifest")
    parser.add_argument("--created", type=datetime.fromisoformat, default=None, help="ISO 8601 with time zone")
    options = parser.parse_args()

    metrics: dict[str, float] = {}
    if options.measured:
        metrics |= json.loads(options.measured.read_text())["metrics"]
    if options.count:
        pipeline = load_base(options.folder, {options.control: options.folder / f"control-{options.control}"})
        subject = Subject(
            pipeline, options.size, (CANNY["low_threshold"], CANNY["high_threshold"]), control=options.control
        )
        metrics |= evaluate(subject, options.count, command=shlex.join(sys.argv)).metrics()
    stages = ("vae", "base", f"control-{options.control}")
    for stage in stages:
        summary = read_summary(options.folder / stage)
        metrics[f"steps_{stage.removeprefix('control-')}"] = float(summary.steps)
        metrics[f"seconds_{stage.removeprefix('control-')}"] = round(summary.seconds)
    data: dict[str, JsonValue] = {
        "pictures": "Procedural renderings of machined parts on a bench (controlnet.parts), captioned; no photographs."
    }
    client = None
    if options.mlflow:
        send_nothing_home()
        from mlflow import MlflowClient

        client = MlflowClient(options.mlflow)
    for stage in stages:
        data[stage] = parameters_of(options.folder / stage, client)
    bundle = export(
        options.folder,
        options.target,
        name=options.name,
        version=options.version,
        metrics=metrics,
        training_data=data,
        created=options.created or datetime.now().astimezone(),
        controls=(options.control,),
        size=options.size,
    )
    print(json.dumps({"digest": bundle.digest, "bytes": bundle.nbytes, **metrics}, indent=2))


if __name__ == "__main__":
    main()
