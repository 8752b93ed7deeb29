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
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from controlnet import __version__
from controlnet.annotators import ANNOTATORS, find, make_map, namesake, size_to_sample
from controlnet.annotators.annotator import Picture
from controlnet.architecture import Architecture
from controlnet.bundle import (
    DEMO,
    Bundle,
    BundleError,
    ControlName,
    ControlWeights,
    Manifest,
    Name,
    Version,
    taken,
    write_bundle,
)
from controlnet.pictures import read
from controlnet.vocabulary import check_tokenizer, read_vocabulary
from controlnet.warnings import ResultWarning, of_map

if TYPE_CHECKING:
    from torch import Tensor

# torch, transformers and Lightning take seconds to import: the commands that need them import them.

app = typer.Typer(no_args_is_help=True, add_completion=False)
console = Console()

BundleOption = Annotated[Path, typer.Option("--bundle", "-b", help="Folder of the bundle.", show_default="the demo's")]
DeviceHelp = "Device that computes: cpu, cuda, or auto, which is a GPU where there is one."


def _show_version(wanted: bool) -> None:
    if wanted:
        console.print(f"controlnet {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Images with spatial control."""


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="Text that says what the images show.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG to write; several get a number each.")],
    control: Annotated[
        list[str] | None, typer.Option("--control", "-c", help="NAME=PICTURE; its map is made by the annotator.")
    ] = None,
    control_map: Annotated[list[str] | None, typer.Option("--map", "-m", help="NAME=MAP, ready to use.")] = None,
    bundle: BundleOption = DEMO,
    negative_prompt: Annotated[
        str | None, typer.Option(help="Text that says what to avoid; the bundle's if absent.")
    ] = None,
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Number of images.")] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the first image; the next ones count up. Random if absent.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Number of steps; the bundle's if absent.")] = None,
    guidance: Annotated[
        float | None, typer.Option(min=1.0, help="Guidance scale, 1 is none; the bundle's if absent.")
    ] = None,
    strength: Annotated[float, typer.Option(min=0.0, max=2.0, help="Strength of all controls.")] = 1.0,
    resolution: Annotated[
        int | None, typer.Option(help="Short side of the images in pixels; the bundle's native one if absent.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Sampler: ddim, dpmpp_2m or euler; the bundle's if absent.")
    ] = None,
    device: Annotated[str, typer.Option(help=DeviceHelp)] = "auto",
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
            _warn(of_map(made, picture, name, control=name, annotator=how))
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
        pipeline = Pipeline.load(opened, device=_device(device))
        _warn(pipeline.warnings(specs[0]))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Sampling")
        with _refusals():
            images = run(pipeline, specs, on_step=lambda k, of: progress.update(task, completed=k, total=of))
    for i, (spec, picture) in enumerate(zip(specs, images, strict=True)):
        path = output if n == 1 else output.with_stem(f"{output.stem}-{i}")
        Image.fromarray(picture).save(path)
        console.print(f"{path}  {width}x{height}  seed {spec.seed}", markup=False, soft_wrap=True)


@app.command()
def annotate(
    annotator: Annotated[str, typer.Argument(help=f"Annotator that makes the map: {', '.join(ANNOTATORS)}.")],
    picture: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Picture to read.")],
    output: Annotated[Path, typer.Argument(help="PNG to write.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="NAME=NUMBER, a parameter of the annotator.")
    ] = None,
) -> None:
    """Make the control map of a picture."""
    _writable(output)
    with _refusals():
        parameters = {name: float(value) for name, value in map(_pair, parameter or [])}
        pixels = read(picture, is_map=annotator == "none")
        Image.fromarray(find(annotator)(pixels, parameters)).save(output)
    console.print(str(output), markup=False, highlight=False, soft_wrap=True)


@app.command()
def inspect(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.", show_default="the demo's")] = DEMO,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Metrics of the bundle, too; docs/model.md tells of them.")
    ] = False,
) -> None:
    """Show what a bundle is, and check every byte of it, and that its tokenizer fits."""
    opened = _open(bundle)
    manifest = opened.manifest
    native, numbers = manifest.native_size, manifest.architecture
    with _failures():
        opened.verify()
        check_tokenizer(opened.path("tokenizer"), numbers.text)
    defaults = manifest.defaults
    rows = [
        ("model", f"{manifest.name} {manifest.version}, {manifest.licence}"),
        ("digest", opened.digest),
        ("size", f"{opened.nbytes / 1e6:.1f} MB in {len(manifest.files)} files, all as listed"),
        ("native", f"{native.width}x{native.height}, multiples of {numbers.multiple}"),
        ("heads", f"{numbers.unet.num_heads} in the UNet, {numbers.text.num_attention_heads} in the text encoder"),
        ("predicts", numbers.schedule.prediction),
        ("defaults", f"{defaults.steps} steps of {defaults.sampler}, guidance {defaults.guidance:g}"),
    ]
    for name, control in manifest.controls.items():
        rows.append(("control", f"{name}: {control.description} ({control.annotator} {control.parameters})"))
    if metrics:
        rows += [("metric", f"{metric} {value:.4g}") for metric, value in manifest.metrics.items()]
    elif manifest.metrics:
        rows.append(("metrics", f"{len(manifest.metrics)}, shown by --metrics"))
    for key, value in rows:  # in no table, which would cut a digest in two
        console.print(f"{key:10}{value}", markup=False, highlight=False, soft_wrap=True)


@app.command("import")
def import_model(
    source: Annotated[
        Path, typer.Argument(exists=True, help="A .pth, .ckpt or .safetensors file, or a diffusers folder.")
    ],
    bundle: Annotated[Path, typer.Argument(help="Folder to write.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the model in its manifest; for our own exports, theirs if absent.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--licence", "--license", help="Licence, an SPDX expression or a sentence; likewise if absent."),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            help="Name of the source's only control: canny, depth ... A folder's controls are named by their folders: "
            "controlnet_canny/ holds canny."
        ),
    ] = None,
    annotator: Annotated[
        str | None, typer.Option(help="Annotator that makes the maps; the one of a control's own name if absent.")
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Bundle to add the control to, where the source holds only that.")
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            help="Bundle whose heads, groups, prediction ... a file has, and whose tokenizer is taken where none is "
            "given; those of Stable Diffusion 1.5 if absent."
        ),
    ] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads of a file's UNet; 8 if absent.")] = None,
    text_heads: Annotated[
        int | None, typer.Option(min=1, help="Attention heads of a file's text encoder; 12 if absent.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder with vocab.json and merges.txt, where the source has none.")
    ] = None,
    prediction: Annotated[
        Literal["eps", "v"] | None,
        typer.Option(help="Prediction of a file's UNet, which its weights don't tell; eps if absent."),
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Variant of a diffusers folder's weights: fp16 ...")] = None,
    version: Annotated[
        str | None, typer.Option(help="Version of the weights; 1, or that of our own export, if absent.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Side of the training pictures in pixels; the base's, the export's, or 512 if absent."
        ),
    ] = None,
) -> None:
    """Turn a checkpoint into a bundle; pickles are read once, in a process of their own."""
    folder = source.is_dir()
    for option, given in (
        ("--like", like),
        ("--heads", heads),
        ("--text-heads", text_heads),
        ("--prediction", prediction),
    ):
        if given is not None and (folder or base):
            raise typer.BadParameter(f"{option} is for a whole model in one file: folders and bundles tell it")
    if variant and not folder:
        raise typer.BadParameter("--variant is for folders")
    if base and tokenizer:
        raise typer.BadParameter("--base brings its own tokenizer: leave --tokenizer out")
    _check_words(name, control, version)
    _check_free(bundle)
    with _refusals("--"):
        if annotator:
            find(annotator)

    from controlnet.architecture import SD15
    from controlnet.checkpoint import extend_bundle, import_checkpoint, import_control, import_diffusers, read_card
    from controlnet.checkpoint.detect import refuse_shuffle
    from controlnet.checkpoint.extend import DTYPES
    from controlnet.checkpoint.imports import control_folders
    from controlnet.checkpoint.read import PICKLED
    from controlnet.training.store import read_record

    with _failures():
        if tokenizer is not None:
            read_vocabulary(tokenizer)
        card = read_card(source)
        if not folder:
            refuse_shuffle(source.name, control or "")
    known = {} if card is None else card.controls
    only = next(iter(known)) if len(known) == 1 else None
    if card is not None and base is None:
        name, licence, version = name or card.name, licence or card.licence, version or card.version
    if not name or not licence:
        raise typer.BadParameter(f"{'--licence' if name else '--name'} is missing: a bundle's manifest has it")
    version, created, told = version or "1", datetime.now(UTC), f"imported from {source.name}"

    def with_maps(called: str, state: Mapping[str, Tensor]) -> ControlWeights:
        maps = known.get((only or called) if called == control else called)  # whatever the only one is called now
        if maps is not None and annotator in (None, maps.annotator):
            return ControlWeights(state, maps.annotator, maps.parameters, maps.description)
        return ControlWeights(state, annotator or namesake(called), {})

    if base is not None:
        control = control or only
        if control is None:
            raise typer.BadParameter("--base needs --control, the new control's name")
        opened = _open(base)
        _check_size(size, opened.manifest.architecture)
        with _failures():
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
        _print_digest(bundle, made)
        return

    another = None if like is None else _open(like)
    numbers = SD15 if another is None else another.manifest.architecture
    if folder:
        found = control_folders(source)
        if control and len(found) != 1:
            raise typer.BadParameter(
                f"--control names a folder's only control, and {source} has {', '.join(found) or 'none'}: "
                "each is named by its folder, controlnet_canny/ holds canny"
            )
        with _failures():
            model = import_diffusers(source, variant=variant)
        if control:
            model = replace(model, controls=dict(zip([control], model.controls.values(), strict=True)))
    else:
        if source.suffix in PICKLED:  # it may take minutes to read one
            _check_size(size, numbers)
            if tokenizer is None and another is None:
                raise typer.BadParameter(f"{NO_TOKENIZER}; for a control alone, --base BUNDLE")
        with _failures():
            model = import_checkpoint(
                source,
                like=None if another is None else numbers,
                heads=heads,
                text_heads=text_heads,
                control=control,
            )
        if model.controls and not (control or only):
            raise typer.BadParameter("the file holds a ControlNet: give it a name by --control")
        if prediction:
            schedule = replace(model.architecture.schedule, prediction=prediction)
            model = replace(model, architecture=replace(model.architecture, schedule=schedule))
        if card is None and another is None:
            _print_assumed(model.architecture, heads, text_heads, prediction)
    words = tokenizer or model.tokenizer or (None if another is None else another.path("tokenizer"))
    if words is None:
        raise typer.BadParameter(NO_TOKENIZER)
    _check_size(size, model.architecture)
    native = (512, 512) if card is None else (card.native_size.width, card.native_size.height)
    with _failures():
        check_tokenizer(words, model.architecture.text)
        made = write_bundle(
            bundle,
            architecture=model.architecture,
            unet=model.unet,
            vae=model.vae,
            text=model.text,
            controls={called: with_maps(called, state) for called, state in model.controls.items()},
            tokenizer=words,
            name=name,
            version=version,
            native_size=(size, size) if size else native,
            licence=licence,
            training_data=told,
            metrics={},
            created=created,
            defaults=None if card is None else card.defaults,
            # Our own exports have the bits of the bundle; others' are stored by half.
            dtype="float16" if card is None else DTYPES[next(iter(model.unet.values())).dtype],
        )
    _print_digest(bundle, made)


NO_TOKENIZER = (
    "the source has no tokenizer: give --tokenizer FOLDER with vocab.json and merges.txt "
    "(Stable Diffusion 1.x has those of openai/clip-vit-large-patch14), or --like BUNDLE, whose is taken"
)


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    target: Annotated[
        Path, typer.Argument(help="A .safetensors file in the original's layout, or a diffusers folder; is new.")
    ],
    control: Annotated[
        str | None, typer.Option(help="Control that goes into the file; the base alone if absent.")
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Only the control.")] = False,
) -> None:
    """Write a bundle for other programs: diffusers (a folder), ComfyUI and A1111 (a file).

    A model card goes with it, from which `import` makes the same model again.
    """
    from controlnet.checkpoint import export_control, export_diffusers, export_original
    from controlnet.checkpoint.read import PICKLED

    opened = _open(bundle)
    if alone and control is None:
        raise typer.BadParameter("--alone needs --control")
    if target.suffix in PICKLED:
        raise typer.BadParameter(f"{target} must end in .safetensors, or be the name of a folder: no pickle is written")
    if control and target.suffix != ".safetensors":
        raise typer.BadParameter("--control is for a .safetensors file: a folder has all controls")
    _check_free(target)
    with _failures():
        if target.suffix != ".safetensors":
            export_diffusers(opened, target)
        elif alone and control is not None:
            export_control(opened, control, target)
        else:
            export_original(opened, control, target)
    console.print(str(target), markup=False, highlight=False, soft_wrap=True)


@app.command()
def train(
    overrides: Annotated[
        list[str],
        typer.Argument(
            metavar="stage=vae|base|control KEY=VALUE ...", help="Stage, and keys of its configuration with values."
        ),
    ],
    show: Annotated[
        bool, typer.Option("--show", help="Listing of the stage's keys, values and meanings; nothing is trained.")
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
    count: Annotated[
        int, typer.Option(min=1, help="Number of held-out scenes of one part; a quarter more of others.")
    ] = 200,
    seen: Annotated[
        int, typer.Option(min=0, help="Number of scenes of combinations that training saw, reported apart.")
    ] = 0,
    photographs: Annotated[
        bool, typer.Option(help="Five photographs of scikit-image, too: does it follow their edges?")
    ] = False,
    control: Annotated[str, typer.Option(help="Name of the control that is measured; it takes canny maps.")] = "canny",
    out: Annotated[Path | None, typer.Option(help="Folder for report.html and evaluation.json.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Markdown page whose tables are replaced: docs/model.md.")] = None,
    mlflow: Annotated[
        str | None, typer.Option(help="Tracking URI of an MLflow, to log on --version of --model, too.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the registered model in MLflow.")] = None,
    version: Annotated[
        str | None, typer.Option(help="Version of the registered model; it must hold this bundle.")
    ] = None,
    device: Annotated[str, typer.Option(help=DeviceHelp)] = "cpu",
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
        subject = Subject.of(opened, control, _device(device))
        followed = follow(subject, load_photographs()) if photographs else ()
        found = run(subject, count, seen, followed, command=shlex.join(["controlnet", *sys.argv[1:]]))
    except (ValueError, ModuleNotFoundError) as error:
        _fail(error)
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


@contextmanager
def _failures() -> Iterator[None]:
    """What the library can't do is told as its sentence, and ends the command."""
    try:
        yield
    except (ValueError, OSError) as error:
        _fail(error)


def _check_words(name: str | None, control: str | None, version: str | None) -> None:
    """Refuse names that a manifest can't hold before the work, not after it."""
    plain = "small letters, digits, '.', '_' and '-', at most 64, a letter or digit first and last"
    for option, word, kind, rule in (
        ("--name", name, Name, plain),
        ("--control", control, ControlName, "small letters, digits and '_', at most 32, a letter first"),
        ("--version", version, Version, "letters, digits, '.', '+', '_' and '-', at most 64, a letter or digit first"),
    ):
        if word is None:
            continue
        try:
            TypeAdapter(kind).validate_python(word)
        except ValidationError as error:
            raise typer.BadParameter(f"{option} is {word!r}: choose {rule}") from error


def _check_free(target: Path) -> None:
    if why := taken(target):
        raise typer.BadParameter(why)


def _check_size(size: int | None, numbers: Architecture) -> None:
    multiple = numbers.multiple
    if size is not None and size % multiple:
        below, above = size // multiple * multiple, -(-size // multiple) * multiple
        near = f"{below} or {above}" if below else f"{above}"
        raise typer.BadParameter(f"--size is {size}: this model's sizes are multiples of {multiple}; choose {near}")


def _print_assumed(numbers: Architecture, heads: int | None, text_heads: int | None, prediction: str | None) -> None:
    """Say what was not in the weights and nobody gave."""
    assumed = [
        *([] if heads else [f"{numbers.unet.num_heads} heads in the UNet (--heads)"]),
        *([] if text_heads else [f"{numbers.text.num_attention_heads} heads in the text encoder (--text-heads)"]),
        *([] if prediction else [f"prediction {numbers.schedule.prediction} (--prediction)"]),
        f"groups of {numbers.unet.norm_groups}, {numbers.text.hidden_act}",
        f"latents times {numbers.vae.scale_factor:g} (--like BUNDLE)",
    ]
    told = "Not in the weights, so taken to be those of Stable Diffusion 1.5: " + ", ".join(assumed)
    console.print(told, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _print_digest(folder: Path, made: Bundle) -> None:
    console.print(f"{folder}  {made.digest}", markup=False, highlight=False, soft_wrap=True)


def _device(name: str) -> str:
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _fail(error: Exception) -> NoReturn:
    console.print(str(error), style="red", markup=False, soft_wrap=True)  # a path that is cut in two cannot be copied
    raise typer.Exit(1) from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def _size(pictures: Sequence[tuple[Picture, bool]], resolution: int | None, manifest: Manifest) -> tuple[int, int]:
    """Height and width to sample at, by the API's rule; pictures with whether they are maps already."""
    native = manifest.native_size
    if not pictures and resolution is None:  # whatever the bound on pixels, which is of pictures
        return native.height, native.width
    shape, is_map = (pictures[0][0].shape[:2], pictures[0][1]) if pictures else (None, False)
    return size_to_sample(shape, is_map, resolution, (native.height, native.width), manifest.architecture.multiple)


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
def _refusals(option: str = "") -> Iterator[None]:
    """What the library refuses is told as its sentence, not as a traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise typer.BadParameter(f"{option}{error}") from error
    except ArithmeticError as error:  # NotFinite: nothing that the caller gave is at fault
        _fail(error)
