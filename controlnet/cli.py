"""`controlnet`: make pictures, make maps, look into bundles, bring models in and out, train."""

from __future__ import annotations

import secrets
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from controlnet.annotators import ANNOTATORS, find, fit, make_map, namesake, natural_resolution
from controlnet.annotators.annotator import Picture
from controlnet.bundle import DEMO, Bundle, BundleError, ControlWeights, Manifest, write_bundle
from controlnet.pictures import read
from controlnet.warnings import ResultWarning, of_map

if TYPE_CHECKING:
    from torch import Tensor

# torch, transformers and Lightning take seconds to import: the commands that need them import them.

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Images with spatial control.")
console = Console()

BundleOption = Annotated[Path, typer.Option("--bundle", "-b", help="Folder of the bundle.", show_default="the demo's")]


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What to make.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG; a number is added where there are several.")],
    control: Annotated[
        list[str] | None, typer.Option("--control", "-c", help="NAME=PICTURE; its map is made by the annotator.")
    ] = None,
    control_map: Annotated[list[str] | None, typer.Option("--map", "-m", help="NAME=MAP, ready to use.")] = None,
    bundle: BundleOption = DEMO,
    negative_prompt: Annotated[str | None, typer.Option(help="What to avoid.")] = None,
    n: Annotated[int, typer.Option(min=1, help="Number of images.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the first image; the next ones count up.")] = None,
    steps: Annotated[int | None, typer.Option(min=1)] = None,
    guidance: Annotated[float | None, typer.Option(min=1.0)] = None,
    strength: Annotated[float, typer.Option(min=0.0, max=2.0, help="Of all controls.")] = 1.0,
    resolution: Annotated[int | None, typer.Option(help="Short side; the bundle's native one if absent.")] = None,
    sampler: Annotated[str | None, typer.Option(help="ddim, dpmpp_2m or euler.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
) -> None:
    """Make images from a prompt and the maps of pictures."""
    opened = _open(bundle)
    manifest = opened.manifest
    sources = [(*_pair(c), False) for c in control or []] + [(*_pair(m), True) for m in control_map or []]
    for name, _, _ in sources:
        if name not in manifest.controls:
            raise typer.BadParameter(f"control {name!r} is not one of {', '.join(manifest.controls) or 'none'}")
    _writable(output)
    with _refusals():
        pictures = [(name, read(path, is_map=ready), ready) for name, path, ready in sources]
        height, width = _size([(picture, ready) for _, picture, ready in pictures], resolution, manifest)
        maps = []
        for name, picture, ready in pictures:
            entry = manifest.controls[name]
            how, parameters = ("none", {}) if ready else (entry.annotator, entry.parameters)
            made = make_map(picture, how, parameters, width, height)
            source = (picture.shape[0], picture.shape[1]) if how == "none" else None
            _warn(of_map(made, name, lines="canny" in (how, name), source=source))
            maps.append((name, made))

    from controlnet.generate import generate as run
    from controlnet.pipeline import Control, ImageSpec, Pipeline
    from controlnet.pixels import to_hint

    controls = [Control(name, to_hint(pixels), strength=strength) for name, pixels in maps]
    first = secrets.randbelow(2**32 - n) if seed is None else seed
    specs = [
        ImageSpec(
            prompt,
            width,
            height,
            negative_prompt=manifest.defaults.negative_prompt if negative_prompt is None else negative_prompt,
            steps=steps or manifest.defaults.steps,
            guidance=guidance or manifest.defaults.guidance,
            seed=first + i,
            sampler=sampler or manifest.defaults.sampler,
            controls=tuple(controls),
        )
        for i in range(n)
    ]
    with _refusals():
        pipeline = Pipeline.load(opened, device=device)
        _warn(pipeline.warnings(specs[0]))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Sampling")
        with _refusals():
            images = run(pipeline, specs, on_step=lambda k, of: progress.update(task, completed=k, total=of))
    for i, (spec, picture) in enumerate(zip(specs, images, strict=True)):
        path = output if n == 1 else output.with_stem(f"{output.stem}-{i}")
        Image.fromarray(picture).save(path)
        console.print(f"{path}  {width}x{height}  seed {spec.seed}")


@app.command()
def annotate(
    annotator: Annotated[str, typer.Argument(help=f"One of {', '.join(ANNOTATORS)}.")],
    picture: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    output: Annotated[Path, typer.Argument(help="PNG to write.")],
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="NAME=NUMBER.")] = None,
) -> None:
    """Make the control map of a picture."""
    _writable(output)
    with _refusals():
        parameters = {name: float(value) for name, value in map(_pair, parameter or [])}
        pixels = read(picture, is_map=annotator == "none")
        Image.fromarray(find(annotator)(pixels, parameters)).save(output)
    console.print(output)


@app.command()
def inspect(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.", show_default="the demo's")] = DEMO,
) -> None:
    """Show what a bundle is, and check every byte of it."""
    opened = _open(bundle)
    try:
        opened.verify()
    except BundleError as error:
        _fail(error)
    manifest = opened.manifest
    # A digest is whole on a line of 80.
    table = Table("", Column(overflow="fold"), show_header=False, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_row("model", f"{manifest.name} {manifest.version}, {manifest.licence}")
    table.add_row("digest", opened.digest)
    table.add_row("size", f"{opened.nbytes / 1e6:.1f} MB in {len(manifest.files)} files, all as listed")
    native, numbers = manifest.native_size, manifest.architecture
    table.add_row("native", f"{native.width}x{native.height}, multiples of {numbers.multiple}")
    table.add_row("predicts", numbers.schedule.prediction)
    defaults = manifest.defaults
    table.add_row("defaults", f"{defaults.steps} steps of {defaults.sampler}, guidance {defaults.guidance:g}")
    for name, control in manifest.controls.items():
        table.add_row("control", f"{name}: {control.description} ({control.annotator} {control.parameters})")
    for metric, value in manifest.metrics.items():
        table.add_row("metric", f"{metric} {value:.4g}")
    console.print(table)


@app.command("import")
def import_model(
    source: Annotated[
        Path, typer.Argument(exists=True, help="A .pth, .ckpt or .safetensors file, or a diffusers folder.")
    ],
    bundle: Annotated[Path, typer.Argument(help="Folder to write.")],
    name: Annotated[str, typer.Option(help="Of the model, in its manifest.")],
    licence: Annotated[str, typer.Option(help="SPDX expression or a sentence.")],
    control: Annotated[str | None, typer.Option(help="What the file's ControlNet is called: canny, depth ...")] = None,
    annotator: Annotated[
        str | None, typer.Option(help="Makes the maps; the one of a control's own name if absent.")
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Bundle to add the control to, where the source holds only that.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder with vocab.json and merges.txt, where source has none.")
    ] = None,
    prediction: Annotated[
        Literal["eps", "v"] | None, typer.Option(help="Of a file's UNet, whose weights don't tell; eps if absent.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Of a diffusers folder's weights: fp16 ...")] = None,
    version: Annotated[str, typer.Option(help="Of the weights.")] = "1",
    size: Annotated[
        int | None, typer.Option(help="Side of the pictures it was trained on; the base's, or 512, if absent.")
    ] = None,
) -> None:
    """Turn a checkpoint into a bundle; pickles are read once, in a process of their own."""
    from controlnet.architecture import SD15
    from controlnet.checkpoint import (
        CheckpointError,
        extend_bundle,
        import_checkpoint,
        import_control,
        import_diffusers,
    )
    from controlnet.training.store import read_record

    folder, created, told = source.is_dir(), datetime.now(UTC), f"imported from {source.name}"
    if prediction and (folder or base):
        raise typer.BadParameter("--prediction is for a whole model in one file: folders and bundles tell it")
    if variant and not folder:
        raise typer.BadParameter("--variant is for folders")
    if control and folder and not base:
        raise typer.BadParameter(
            "--control is for a file or with --base: a folder's controls have their folders' names"
        )

    try:
        if annotator:
            find(annotator)
    except ValueError as error:
        raise typer.BadParameter(f"--{error}") from error

    def with_maps(called: str, state: Mapping[str, Tensor]) -> ControlWeights:
        return ControlWeights(state, annotator or namesake(called), {})

    try:
        if base is not None:
            if control is None:
                raise typer.BadParameter("--base needs --control, the new control's name")
            if tokenizer:
                raise typer.BadParameter("--base brings its own tokenizer: leave --tokenizer out")
            opened = _open(base)
            state = import_control(source, architecture=opened.manifest.architecture, variant=variant)
            record, measured = read_record(source)
            made = extend_bundle(
                opened,
                bundle,
                {control: with_maps(control, state)},
                name=name,
                version=version,
                licence=licence,
                sources={control: record or told},
                metrics={f"{key}_{control}": value for key, value in measured.items()},
                created=created,
                native_size=(size, size) if size else None,
            )
        else:
            like = replace(SD15, schedule=replace(SD15.schedule, prediction=prediction or "eps"))
            if folder:
                model = import_diffusers(source, variant=variant)
            else:
                model = import_checkpoint(source, like=like, control=control or "control")
                if model.controls and not control:
                    raise typer.BadParameter("the file holds a ControlNet: give it a name by --control")
            words = tokenizer or model.tokenizer
            if words is None:
                raise typer.BadParameter("the source has no tokenizer: give --tokenizer")
            made = write_bundle(
                bundle,
                architecture=model.architecture,
                unet=model.unet,
                vae=model.vae,
                text=model.text,
                controls={known: with_maps(known, state) for known, state in model.controls.items()},
                tokenizer=words,
                name=name,
                version=version,
                native_size=(size or 512, size or 512),
                licence=licence,
                training_data=told,
                metrics={},
                created=created,
            )
    except (CheckpointError, BundleError) as error:
        _fail(error)
        raise
    console.print(f"{bundle}  {made.digest}")


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    target: Annotated[
        Path, typer.Argument(help="A .safetensors file in the original's layout, or a diffusers folder.")
    ],
    control: Annotated[
        str | None, typer.Option(help="Which control goes into the file; the base alone if absent.")
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Only the control.")] = False,
) -> None:
    """Write a bundle for other programs: diffusers (a folder), ComfyUI and A1111 (a file)."""
    from controlnet.checkpoint import CheckpointError, export_control, export_diffusers, export_original
    from controlnet.checkpoint.read import PICKLED

    opened = _open(bundle)
    if alone and control is None:
        raise typer.BadParameter("--alone needs --control")
    if target.suffix in PICKLED:
        raise typer.BadParameter(f"{target} must end in .safetensors, or be the name of a folder: no pickle is written")
    if control and target.suffix != ".safetensors":
        raise typer.BadParameter("--control is for a .safetensors file: a folder has all controls")
    if target.is_file():
        raise typer.BadParameter(f"{target} is there already")
    try:
        if target.suffix != ".safetensors":
            export_diffusers(opened, target)
        elif alone and control is not None:
            export_control(opened, control, target)
        else:
            export_original(opened, control, target)
    except CheckpointError as error:
        _fail(error)
    console.print(target)


@app.command()
def train(
    overrides: Annotated[
        list[str], typer.Argument(metavar="stage=vae|base|control KEY=VALUE ...", help="Its configuration.")
    ],
    show: Annotated[
        bool, typer.Option("--show", help="List the stage's keys, values and meanings; train nothing.")
    ] = False,
) -> None:
    """Train a stage of a model; Ctrl-C keeps what was learned, and the same command again goes on from there.

    `controlnet train --show stage=control` lists all keys. A control on pairs of pictures, on top of a bundle:

    controlnet train stage=control name=mine bundle=BUNDLE data.kind=pairs data.train=FOLDER
    """
    from controlnet.training.interrupted import Interrupted

    try:
        from controlnet.training.config import describe, read_config

        if show:
            table = Table("key", "value", "meaning", box=None)
            for row in describe(overrides):
                table.add_row(*(Text(cell) for cell in row))
            console.print(table)
            return
        read_config(overrides)  # a mistake is told before seconds of imports
        from controlnet.training.run import train as run

        run(overrides, console)
    except Interrupted as error:
        console.print(str(error), style="yellow", markup=False, soft_wrap=True)
        raise typer.Exit(128 + error.signal) from error
    except KeyboardInterrupt as error:
        console.print("Stopped at once: the same command again goes on from the last checkpoint.", style="yellow")
        raise typer.Exit(130) from error
    except (ValueError, OSError) as error:
        _fail(error)
    except ModuleNotFoundError as error:
        _fail(ModuleNotFoundError(f"{error.name} is not installed: pip install 'controlnet-platform[train]'"))


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.", show_default="the demo's")] = DEMO,
    count: Annotated[int, typer.Option(min=1, help="Held-out scenes of one part; a quarter more of others.")] = 200,
    seen: Annotated[int, typer.Option(min=0, help="Scenes of combinations that training saw, reported apart.")] = 0,
    photographs: Annotated[bool, typer.Option(help="Follow the edges of five photographs of scikit-image.")] = False,
    control: Annotated[str, typer.Option(help="Which control; it takes canny maps.")] = "canny",
    out: Annotated[Path | None, typer.Option(help="Folder for report.html and evaluation.json.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Markdown page whose tables are replaced: docs/model.md.")] = None,
    mlflow: Annotated[str | None, typer.Option(help="Tracking URI: log on --version of --model, too.")] = None,
    model: Annotated[str | None, typer.Option(help="Registered model in MLflow.")] = None,
    version: Annotated[str | None, typer.Option(help="Of the registered model; it must hold this bundle.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
) -> None:
    """Measure a model that draws machined parts: does it follow maps and words that it never saw?"""
    if [mlflow, model, version].count(None) not in (0, 3):
        raise typer.BadParameter("--mlflow, --model and --version go together")
    from controlnet.evaluation import tracking
    from controlnet.evaluation.evaluate import evaluate as run
    from controlnet.evaluation.markdown import markdown, write_docs
    from controlnet.evaluation.photographs import follow, load_photographs
    from controlnet.evaluation.report import write_report
    from controlnet.evaluation.sampling import Subject

    tracking.send_nothing_home()
    opened = _open(bundle)
    try:
        place = None
        if mlflow and model and version:  # before minutes of sampling
            place = tracking.Place.find(mlflow, model, version, opened.digest)
        subject = Subject.of(opened, control, device)
        followed = follow(subject, load_photographs()) if photographs else ()
        found = run(subject, count, seen, followed, command=shlex.join(["controlnet", *sys.argv[1:]]))
    except (ValueError, ModuleNotFoundError) as error:
        _fail(error)
        raise
    console.print(markdown(found), markup=False, highlight=False, soft_wrap=True)
    if out:
        console.print(*write_report(found, out), soft_wrap=True)
    if docs:
        write_docs(docs, found)
    if place:
        tracking.log(found, place)


def main() -> None:
    """Entry point of the `controlnet` script."""
    app()


def _open(folder: Path) -> Bundle:
    try:
        return Bundle.open(folder)
    except BundleError as error:
        _fail(error)
        raise


def _fail(error: Exception) -> None:
    console.print(str(error), style="red", markup=False, soft_wrap=True)  # a path that is cut in two cannot be copied
    raise typer.Exit(1) from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def _size(pictures: Sequence[tuple[Picture, bool]], resolution: int | None, manifest: Manifest) -> tuple[int, int]:
    """Height and width to sample at, by the API's rule; pictures with whether they are maps already."""
    native, multiple = manifest.native_size, manifest.architecture.multiple
    if not pictures and resolution is None:
        return native.height, native.width
    (height, width), ready = (native.height, native.width), False
    if pictures:
        (height, width), ready = pictures[0][0].shape[:2], pictures[0][1]
    short = resolution or min(native.height, native.width)
    if ready and resolution is None:
        short = natural_resolution(height, width, short, multiple)
    return fit(height, width, short, multiple=multiple)


def _writable(output: Path) -> None:
    """Refuse an output that can't be written before the work, not after it."""
    if output.suffix.lower() not in Image.registered_extensions():
        raise typer.BadParameter(f"{output} must end in .png or the like, which says how it is written")
    if not output.parent.is_dir():
        raise typer.BadParameter(f"{output.parent} is no folder: make it first")
    if output.is_dir():
        raise typer.BadParameter(f"{output} is a folder: give a file")


def _warn(warnings: Sequence[ResultWarning]) -> None:
    for warning in warnings:
        console.print(f"{warning.field}: {warning.detail}", style="yellow", markup=False, soft_wrap=True)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the library refuses is told as its sentence, not as a traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    except ArithmeticError as error:  # NotFinite: nothing that the caller gave is at fault
        _fail(error)
