"""C7: what was computed over what was needed, by exact counts; no time is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from controlnet.pipeline import ImageSpec
from ops.bench.bench import Bench
from ops.bench.counters import Counter, counting
from ops.bench.crowds import Specs, mixed
from ops.bench.equality import Unequal, require_equal
from ops.bench.figure import Figure
from ops.bench.runs import image_steps, one_at_a_time, together
from ops.bench.subjects import Subject
from serve.engine.core import Model

JOBS, IMAGES_OF_JOB = 6, 3


def measure(bench: Bench) -> list[Figure]:
    """A mixed crowd and one at guidance 1, both of jobs whose images share prompt and hints."""
    subject, steps = bench.tiny, bench.effort.tail_steps
    # Words that no other figure uses: the pipeline may remember theirs.
    crowds = {
        "mixed": jobs(subject, steps, "counted"),
        "guidance 1": jobs(subject, steps, "counted alone", guidance=1.0),
    }
    ran = {name: count(bench.model(subject), subject, specs) for name, specs in crowds.items()}
    images = list(crowds["mixed"].values())
    mix = ran["mixed"]
    return [
        ratio("C7 control", "control rows run / inside windows", control_rows(images), *of_kind(mix, "control")),
        ratio("C7 unet", "UNet rows run / needed", unet_rows(images), mix["unet"]),
        ratio(
            "C7 guidance 1",
            "UNet rows run / image-steps, at guidance 1",
            image_steps(crowds["guidance 1"]),
            ran["guidance 1"]["unet"],
        ),
        ratio("C7 hints", "hints encoded / distinct", distinct_hints(images), *of_kind(mix, "hint")),
        ratio("C7 texts", "texts encoded / distinct", distinct_texts(images), mix["text"]),
        ratio("C7 decode", "latents decoded / images", len(images), mix["decoder"]),
    ]


def jobs(subject: Subject, steps: Sequence[int], words: str, guidance: float | None = None) -> Specs:
    """Jobs of a few images each; a hint is one tensor for all images of its job."""
    specs: Specs = {}
    for name, spec in mixed(subject, JOBS, steps).items():
        spec = replace(spec, prompt=f"{words} {name}", negative_prompt=f"no {words}")
        spec = replace(spec, guidance=guidance or spec.guidance)
        specs |= {f"{name}.{i}": replace(spec, seed=100 * spec.seed + i) for i in range(IMAGES_OF_JOB)}
    return specs


def count(model: Model, subject: Subject, specs: Specs) -> dict[str, Counter]:
    """Run a crowd through the engine and count what the networks computed.

    Raises:
        Unequal: The pictures are not those of one image at a time.
    """
    pipeline = subject.pipeline
    nets: dict[str, nn.Module] = {"unet": pipeline.unet, "text": pipeline.text, "decoder": pipeline.vae.decoder}
    for name, control in pipeline.controls.items():
        nets |= {f"control {name}": control, f"hint {name}": control.input_hint_block}
    with counting(nets) as counters:
        run = together(model, specs)
    require_equal(run.pictures, one_at_a_time(subject, specs).pictures)
    return counters


def ratio(name: str, title: str, needed: int, *counters: Counter) -> Figure:
    """Computed over needed; padding is told apart.

    Raises:
        Unequal: Less was computed than was needed: somebody else did the work, or a counter is blind.
    """
    lines, padding = sum(one.lines for one in counters), sum(one.padding for one in counters)
    if lines < needed:
        raise Unequal(f"{name}: {lines} lines were computed where {needed} are needed")
    detail = {"computed": lines, "needed": needed, "padding": padding, "calls": sum(one.calls for one in counters)}
    return Figure(name, title, lines / needed, target=1.0, at_most=True, detail=detail)


# What is needed, said anew: the pipeline is not asked.


def unet_rows(specs: Sequence[ImageSpec]) -> int:
    """Two rows a step, one at guidance 1."""
    return sum(spec.steps * (1 if spec.guidance == 1 else 2) for spec in specs)


def control_rows(specs: Sequence[ImageSpec]) -> int:
    """The rows of those steps that lie inside a window; in guess mode the conditional ones."""
    return sum(
        1 if control.guess or spec.guidance == 1 else 2
        for spec in specs
        for control in spec.controls
        for step in range(spec.steps)
        if control.start <= step / spec.steps and (step + 1) / spec.steps <= control.end
    )


def distinct_hints(specs: Sequence[ImageSpec]) -> int:
    """Each map once for each network that reads it."""
    return len({(control.name, control.hint.data_ptr()) for spec in specs for control in spec.controls})


def distinct_texts(specs: Sequence[ImageSpec]) -> int:
    """Prompts, and the negative ones that are used."""
    return len({spec.prompt for spec in specs} | {spec.negative_prompt for spec in specs if spec.guidance != 1})


def of_kind(counters: dict[str, Counter], kind: str) -> list[Counter]:
    """Those of all controls, or of all their hint encoders."""
    return [counter for name, counter in counters.items() if name.split()[0] == kind]
