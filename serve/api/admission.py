"""From a request to a job: every parameter settled against the served bundle's manifest and the operator's bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from controlnet.annotators import ANNOTATORS, size_to_sample
from controlnet.bundle import Manifest
from serve.api.pictures import Header, read_header
from serve.api.problems import InvalidFields
from serve.api.schemas import LARGEST_SEED, ControlRequest, ImagesRequest, MapRequest
from serve.api.uploads import Uploads
from serve.config import Settings
from serve.errors import InvalidRequest, ServeError
from serve.jobs.spec import ControlSpec, JobSpec


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that came with a request and whose header was checked."""

    data: bytes
    header: Header
    field: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A job that is settled but for its pictures, which are not stored yet.

    Attributes:
        spec: With controls whose `images` are empty.
        pictures: One list a control.
    """

    spec: JobSpec
    pictures: tuple[tuple[Picture, ...], ...]

    def with_keys(self, keys: Sequence[Sequence[str]]) -> JobSpec:
        """The job, given the artifact keys of its pictures."""
        pairs = zip(self.spec.controls, keys, strict=True)
        return replace(self.spec, controls=tuple(replace(control, images=tuple(images)) for control, images in pairs))


def settle(
    request: ImagesRequest,
    uploads: Uploads,
    manifest: Manifest,
    settings: Settings,
    random_seed: Callable[[], int],
    eta: float = 0.0,
) -> Draft:
    """Check a request and fill in its defaults. Reads picture headers, so it belongs in a thread.

    Raises:
        InvalidRequest: A bound is broken; names the field and the bound.
        UnsupportedMedia: A picture is none.
    """
    _at_most(len(request.controls), settings.max_controls, "controls", "controls")
    n = _count(request, settings)
    steps = request.steps if request.steps is not None else min(manifest.defaults.steps, settings.max_steps)
    _at_most(steps, settings.max_steps, "steps", "steps")
    specs = tuple(_control(control, f"controls.{i}", manifest) for i, control in enumerate(request.controls))
    pictures = tuple(
        tuple(_pictures(control, f"controls.{i}", uploads, settings)) for i, control in enumerate(request.controls)
    )
    uploads.check_all_used()
    width, height = _size(request, pictures[0][0] if pictures else None, manifest, settings)
    first = random_seed() if request.seed is None or request.seed == -1 else request.seed
    defaults = manifest.defaults
    spec = JobSpec(
        prompt=request.prompt,
        negative_prompt=defaults.negative_prompt if request.negative_prompt is None else request.negative_prompt,
        seeds=tuple((first + i) % (LARGEST_SEED + 1) for i in range(n)),
        steps=steps,
        guidance=float(defaults.guidance if request.guidance is None else request.guidance),
        width=width,
        height=height,
        sampler=request.sampler or defaults.sampler,
        eta=eta,
        deterministic=request.deterministic,
        controls=specs,
    )
    return Draft(spec, pictures)


def settle_map(type_: str, request: MapRequest, uploads: Uploads, manifest: Manifest, settings: Settings) -> Draft:
    """The same for a job that only makes a control map: one control, no images.

    Raises:
        InvalidRequest: A bound is broken.
        UnsupportedMedia: The picture is none.
    """
    control = ControlRequest(
        type=type_, image=[request.image], annotator=request.annotator, parameters=request.parameters
    )
    wanted = ImagesRequest(
        prompt="",
        negative_prompt="",
        guidance=1.0,
        width=request.width,
        height=request.height,
        resolution=request.resolution,
        controls=[control],
    )
    try:
        draft = settle(wanted, uploads, manifest, settings, random_seed=lambda: 0)
    except InvalidFields as error:
        raise InvalidFields([(_of_one(field), detail) for field, detail in error.errors]) from None
    except ServeError as error:
        raise type(error)(error.detail, field=error.field and _of_one(error.field)) from None
    return replace(draft, spec=replace(draft.spec, seeds=(), steps=0))


def _of_one(field: str) -> str:
    return field.removeprefix("controls.0.")


def _at_most(value: int, bound: int, field: str, noun: str) -> None:
    if value > bound:
        raise InvalidRequest(f"{value} {noun}: at most {bound} are allowed.", field=field)


def _count(request: ImagesRequest, settings: Settings) -> int:
    lengths = {
        f"controls.{i}.{'map' if control.image is None else 'image'}": len(control.image or control.map or ())
        for i, control in enumerate(request.controls)
    }
    n = request.n if request.n is not None else max(lengths.values(), default=1)
    _at_most(n, settings.max_images, "n", "images")
    for field, length in lengths.items():
        if length not in (1, n) and length != 0:
            raise InvalidRequest(f"{length} pictures for {n} images: give 1 or {n}.", field=field)
    return n


def _control(control: ControlRequest, field: str, manifest: Manifest) -> ControlSpec:
    if control.type not in manifest.controls:
        choices = ", ".join(sorted(manifest.controls)) or "none"
        raise InvalidRequest(f"There is no such control; the served model has {choices}.", field=f"{field}.type")
    if (control.image is None) == (control.map is None):
        raise InvalidRequest("Give either `image` or `map`.", field=f"{field}.image")
    if control.start > control.end:
        raise InvalidRequest(f"must be at least start, which is {control.start:g}", field=f"{field}.end")
    trained = manifest.controls[control.type]
    if control.annotator is not None:
        if control.map is not None:
            raise InvalidRequest("A `map` is ready: an annotator makes one of an `image`.", field=f"{field}.annotator")
        if control.annotator not in ANNOTATORS:
            choices = ", ".join(ANNOTATORS)
            raise InvalidRequest(f"There is no such annotator; there are {choices}.", field=f"{field}.annotator")
    annotator = ANNOTATORS.get("none" if control.map is not None else control.annotator or trained.annotator)
    if annotator is None:
        raise InvalidRequest(
            f"The annotator {trained.annotator} is not available here: send a ready `map`.", field=f"{field}.image"
        )
    faults = []
    for name, value in control.parameters.items():
        try:
            annotator.validate({name: value})
        except ValueError as error:
            faults.append((f"{field}.parameters.{name}", str(error)))
    if faults:
        raise InvalidFields(faults[:20])
    defaults = trained.parameters if annotator.name == trained.annotator else {}
    return ControlSpec(
        type=control.type,
        annotator=annotator.name,
        images=(),
        parameters=annotator.validate({**defaults, **control.parameters}),
        strength=float(control.strength),
        start=float(control.start),
        end=float(control.end),
        mode=control.mode,
    )


def _pictures(control: ControlRequest, field: str, uploads: Uploads, settings: Settings) -> list[Picture]:
    source, texts = ("image", control.image) if control.image is not None else ("map", control.map or [])
    found = []
    for i, text in enumerate(texts):
        where = f"{field}.{source}" + (f".{i}" if len(texts) > 1 else "")
        data = uploads.resolve(text, where)
        found.append(Picture(data, read_header(data, where, settings.max_pixels_in), where))
    return found


def _size(request: ImagesRequest, picture: Picture | None, manifest: Manifest, settings: Settings) -> tuple[int, int]:
    """Width and height to sample at."""
    multiple = manifest.architecture.multiple
    explicit = {"width": request.width, "height": request.height}
    given = [name for name, value in explicit.items() if value is not None]
    if given and request.resolution is not None:
        raise InvalidRequest("must not be given together with width and height", field="resolution")
    if len(given) == 1:
        (absent,) = explicit.keys() - given
        raise InvalidRequest(f"is required together with {given[0]}", field=absent)
    if request.width is not None and request.height is not None:
        for name, value in (("width", request.width), ("height", request.height)):
            _check_multiple(value, multiple, name)
        _check_area(request.width, request.height, settings, "width")
        return request.width, request.height
    field = "resolution" if request.resolution is not None or picture is None else picture.field
    try:
        height, width = size_to_sample(
            None if picture is None else (picture.header.height, picture.header.width),
            bool(request.controls) and request.controls[0].map is not None,
            request.resolution,
            (manifest.native_size.height, manifest.native_size.width),
            multiple,
            settings.max_pixels_out,
            settings.max_aspect,
        )
    except ValueError as error:
        raise InvalidRequest(str(error), field=field) from None
    _check_area(width, height, settings, field)
    return width, height


def _check_multiple(value: int, multiple: int, field: str) -> None:
    if value % multiple:
        below = value - value % multiple
        nearest = f"{below} or {below + multiple}" if below else f"{multiple}"
        raise InvalidRequest(f"{value} is not a multiple of {multiple}: the nearest is {nearest}.", field=field)


def _check_area(width: int, height: int, settings: Settings, field: str) -> None:
    if width * height > settings.max_pixels_out:
        detail = f"{width}x{height} are {width * height} pixels: at most {settings.max_pixels_out} are made."
        raise InvalidRequest(detail, field=field)
    if max(width, height) > settings.max_aspect * min(width, height):
        raise InvalidRequest(
            f"{width}x{height}: the long side is at most {settings.max_aspect:g} times the short one.", field=field
        )
