"""A bundle: one servable model in one folder, safetensors and JSON only.

    bundle.json                     the manifest: numbers, controls, and the size and SHA-256 of every other file
    unet.safetensors                vae.safetensors         text.safetensors
    controls/<name>.safetensors     one trained control each
    tokenizer/vocab.json            tokenizer/merges.txt

The digest of a bundle is that of its manifest, which holds the digests of its files: it names the content, wherever
the folder lies. Whoever only has to know what a bundle can do reads it here without torch; tensors are loaded by
`controlnet.pipeline`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from controlnet.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "bundle.json"
DEMO = Path(__file__).parent / "demo"  # the bundle this package ships
PARTS = ("unet.safetensors", "vae.safetensors", "text.safetensors")
TOKENIZER = ("tokenizer/vocab.json", "tokenizer/merges.txt")
SUFFIXES = (".safetensors", ".json", ".txt")
LARGEST_MANIFEST = 1 << 20  # bytes; far above any real one, far below what would hurt to parse

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
ControlName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$")]


class BundleError(ValueError):
    """A folder is not a sound bundle; the message is a sentence that names the file or field."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Size(_Strict):
    """Width and height of a picture in pixels."""

    width: int = Field(ge=1)
    height: int = Field(ge=1)


class Defaults(_Strict):
    """What a request that leaves these out gets.

    Attributes:
        steps: Sampling steps.
        guidance: Classifier-free guidance scale; 1 is none.
        negative_prompt: May be empty.
        sampler: A name in `controlnet.samplers.SAMPLERS`.
    """

    steps: int = Field(ge=1)
    guidance: float = Field(ge=1.0)
    negative_prompt: str
    sampler: Literal["ddim", "dpmpp_2m", "euler"]


class Control(_Strict):
    """One trained control.

    Attributes:
        annotator: The annotator that makes its maps (`controlnet.annotators.ANNOTATORS`); `none` if maps must be sent.
        parameters: The annotator's default parameters for this control, all of them.
        description: One sentence for whoever chooses a control.
        file: Its weights, relative to the bundle.
        sha256: Digest of that file: the control's identity, whichever bundle it is in.
    """

    annotator: str
    parameters: dict[str, float]
    description: str
    file: str
    sha256: Digest


class File(_Strict):
    """What a file of the bundle must be."""

    sha256: Digest
    bytes: int = Field(ge=0)


class Manifest(_Strict):
    """The content of `bundle.json`. Every field is required, unknown ones are refused.

    Attributes:
        format: Version of this layout.
        name: Of the model, as the registry has it.
        version: Of the weights.
        architecture: All numbers needed to build the modules.
        native_size: The picture size the model was trained at.
        controls: By name.
        files: Every file but `bundle.json`, by its relative POSIX path.
        licence: SPDX expression or a sentence.
        training_data: What the model saw, in words or as data.
        metrics: Measured quality, by name.
        created: When it was made, with time zone.
    """

    format: Literal[1]
    name: Name
    version: Version
    architecture: Architecture
    native_size: Size
    defaults: Defaults
    controls: dict[ControlName, Control]
    files: dict[str, File]
    licence: str
    training_data: str | dict[str, JsonValue]
    metrics: dict[str, float]
    created: AwareDatetime

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        for path in self.files:
            _check_path(path)
        absent = [path for path in (*PARTS, *TOKENIZER) if path not in self.files]
        if absent:
            raise ValueError(f"files lacks {', '.join(absent)}")
        for name, control in self.controls.items():
            if control.file != f"controls/{name}.safetensors" or control.file not in self.files:
                raise ValueError(
                    f"control {name}: its file {control.file!r} isn't a listed controls/{name}.safetensors"
                )
            if control.sha256 != self.files[control.file].sha256:
                raise ValueError(f"control {name}: sha256 differs from that of {control.file} in files")
        multiple = self.architecture.multiple
        if self.native_size.width % multiple or self.native_size.height % multiple:
            size = f"{self.native_size.width}x{self.native_size.height}"
            raise ValueError(f"native_size {size} is not a multiple of {multiple}, which this architecture needs")
        return self


@dataclass(frozen=True, slots=True)
class Bundle:
    """A folder whose manifest is valid and whose files are all there.

    Attributes:
        folder: Where it lies.
        manifest: What it says of itself.
        digest: `sha256:` and 64 hex digits over the canonical manifest.
    """

    folder: Path
    manifest: Manifest
    digest: str

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Read and check a bundle's manifest, and the presence and size (not yet the content) of its files.

        Raises:
            BundleError: No bundle, an invalid manifest, a file that is missing, of another size, not listed, a link,
                or of a kind that bundles don't hold, whatever it is called.
        """
        folder = Path(folder)
        data = _read_manifest(folder / MANIFEST)
        try:
            # Through JSON text, because strict validation takes a list for a tuple only there.
            manifest = Manifest.model_validate_json(json.dumps(data))
        except ValidationError as error:
            raise BundleError(f"{folder / MANIFEST} is not a valid manifest: {faults(error)}.") from error
        # Dataclasses have defaults; a manifest that leaned on them would change its meaning when they change.
        if json.loads(json.dumps(asdict(manifest.architecture))) != data["architecture"]:
            raise BundleError(f"{folder / MANIFEST} leaves out some numbers of its architecture: give all of them.")
        present = _walk(folder)
        for path, file in manifest.files.items():
            if path not in present:
                raise BundleError(f"Bundle {folder} lacks {path}.")
            if present[path] != file.bytes:
                raise BundleError(f"{path} in bundle {folder} has {present[path]} bytes, not {file.bytes}.")
            if path.endswith(".safetensors") and not _is_safetensors(folder / path):
                raise BundleError(f"{path} in bundle {folder} is no safetensors file, whatever its name says.")
        unlisted = sorted(present.keys() - manifest.files.keys() - {MANIFEST})
        if unlisted:
            raise BundleError(f"Bundle {folder} holds files that its manifest doesn't list: {', '.join(unlisted)}.")
        return cls(folder, manifest, "sha256:" + hashlib.sha256(_canonical(data)).hexdigest())

    def path(self, name: str) -> Path:
        """The place of a listed file (`unet.safetensors`, `controls/canny.safetensors`, ...) or of `tokenizer`.

        Raises:
            BundleError: `name` is neither.
        """
        if name not in self.manifest.files and name != "tokenizer":
            raise BundleError(f"{name!r} is not in the bundle; it holds {', '.join(sorted(self.manifest.files))}.")
        return self.folder / name

    @property
    def nbytes(self) -> int:
        """Size of all files: about what the loaded weights take at the stored precision."""
        return sum(file.bytes for file in self.manifest.files.values())

    def verify(self) -> None:
        """Hash every file.

        Raises:
            BundleError: Names the first file, in alphabetical order, that isn't what the manifest says.
        """
        for path, file in sorted(self.manifest.files.items()):
            with (self.folder / path).open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != file.sha256:
                raise BundleError(f"{path} in bundle {self.folder} has SHA-256 {found}, not {file.sha256}.")


class ControlWeights(NamedTuple):
    """A control as `write_bundle` takes it; a plain tuple of the first three or four will do.

    Attributes:
        state: State dict of a `controlnet.control.ControlNet`.
        annotator: Name of the annotator that makes its maps.
        parameters: The annotator's parameters for this control; those left out get the annotator's defaults.
        description: One sentence; the annotator's where empty.
    """

    state: Mapping[str, Tensor]
    annotator: str
    parameters: Mapping[str, float]
    description: str = ""


def write_bundle(
    folder: str | Path,
    *,
    architecture: Architecture,
    unet: Mapping[str, Tensor],
    vae: Mapping[str, Tensor],
    text: Mapping[str, Tensor],
    controls: Mapping[str, ControlWeights | tuple[Mapping[str, Tensor], str, Mapping[str, float]]],
    tokenizer: str | Path,
    name: str,
    version: str,
    native_size: tuple[int, int],
    licence: str,
    training_data: str | Mapping[str, JsonValue],
    metrics: Mapping[str, float],
    created: datetime,
    defaults: Defaults | None = None,
    dtype: Literal["float16", "bfloat16", "float32"] = "float16",
) -> Bundle:
    """Write a bundle. Equal arguments give equal bytes, so an equal digest. Needs torch, unlike the rest of this file.

    Args:
        folder: Must not exist, or be empty; it appears whole or not at all.
        architecture: The numbers of the modules that the weights belong to.
        unet: State dict of a `UNet`.
        vae: State dict of a `VAE`.
        text: State dict of a `TextEncoder`.
        controls: By name.
        tokenizer: Folder with vocab.json and merges.txt, or with the tokenizer.json that newer transformers write.
        name: Of the model.
        version: Of the weights.
        native_size: (width, height) in pixels.
        licence: SPDX expression or a sentence.
        training_data: In words or as data.
        metrics: Measured quality, by name.
        created: With time zone; an argument, because it is part of the digest.
        defaults: What a request that leaves them out gets; 20 steps of DDIM at guidance 7.5 if not given.
        dtype: Floating-point weights are stored so.

    Raises:
        BundleError: Something is there already, a weight isn't finite at `dtype`, or the manifest would be invalid.
        ValueError: An annotator or a parameter of it doesn't exist or is out of bounds.
    """
    from controlnet.annotators import find  # here, because it loads OpenCV, which readers don't need

    target = Path(folder)
    if why := taken(target):
        raise BundleError(why)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for part, state in zip(PARTS, (unet, vae, text), strict=True):
            _save(state, staging / part, dtype)
        entries: dict[str, dict[str, Any]] = {}
        for control_name, fields in sorted(controls.items()):
            control = ControlWeights(*fields)
            annotator = find(control.annotator)
            file = f"controls/{control_name}.safetensors"
            _check_path(file)
            _save(control.state, staging / file, dtype)
            entries[control_name] = {
                "annotator": annotator.name,
                "parameters": annotator.validate(control.parameters),
                "description": control.description or annotator.description,
                "file": file,
            }
        _copy_tokenizer(Path(tokenizer), staging / "tokenizer")
        files = {path: _describe(staging / path) for path in sorted(_walk(staging))}
        for entry in entries.values():
            entry["sha256"] = files[entry["file"]].sha256
        manifest = Manifest(
            format=1,
            name=name,
            version=version,
            architecture=architecture,
            native_size=Size(width=native_size[0], height=native_size[1]),
            defaults=defaults or Defaults(steps=20, guidance=7.5, negative_prompt="", sampler="ddim"),
            controls={key: Control(**entry) for key, entry in entries.items()},
            files=files,
            licence=licence,
            training_data=training_data if isinstance(training_data, str) else dict(training_data),
            metrics={key: float(value) for key, value in sorted(metrics.items())},
            created=created,
        )
        (staging / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        staging.chmod(stat.S_IMODE((staging / "tokenizer").stat().st_mode))  # mkdtemp makes it private
        staging.rename(target)
    except ValidationError as error:
        raise BundleError(f"The manifest of {target} would be invalid: {faults(error)}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Bundle.open(target)


def taken(target: Path) -> str | None:
    """Why a file or folder can't be written under a name, as a sentence: something is there. None where nothing is."""
    if target.is_dir():
        what = "is not empty" if any(target.iterdir()) else None
    else:
        what = "is there already" if target.exists() else None
    return what and f"{target} {what}: choose another name, or remove it first."


def _save(state: Mapping[str, Tensor], file: Path, dtype: str) -> None:
    import torch  # here, because readers of manifests don't need it

    from controlnet.tensors import write_tensors

    wanted: torch.dtype = getattr(torch, dtype)
    tensors = {}
    for key, tensor in state.items():
        stored = tensor.detach().to("cpu", wanted if tensor.is_floating_point() else None, copy=True).contiguous()
        if stored.is_floating_point() and not stored.isfinite().all():
            raise BundleError(f"{key} in {file.name} isn't finite as {dtype}.")
        tensors[key] = stored
    file.parent.mkdir(exist_ok=True)
    write_tensors(tensors, file)


def _copy_tokenizer(source: Path, target: Path) -> None:
    target.mkdir()
    if all((source / Path(name).name).is_file() for name in TOKENIZER):
        for name in TOKENIZER:
            shutil.copyfile(source / Path(name).name, target / Path(name).name)
        return
    if not (source / "tokenizer.json").is_file():
        raise BundleError(f"{source} is no tokenizer: it has neither vocab.json and merges.txt nor tokenizer.json.")
    model = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (target / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    (target / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")


def _describe(file: Path) -> File:
    with file.open("rb") as stream:
        return File(sha256=hashlib.file_digest(stream, "sha256").hexdigest(), bytes=file.stat().st_size)


def _check_path(path: str) -> None:
    pure = PurePosixPath(path)
    plain = str(pure) == path and not pure.is_absolute() and not {"..", MANIFEST} & set(pure.parts)
    if not plain or "\\" in path or "\0" in path:
        raise ValueError(f"{path!r} is not a plain relative path inside the bundle")
    if pure.suffix not in SUFFIXES:
        raise ValueError(f"{path!r} is none of {', '.join(SUFFIXES)}, the only files a bundle holds")


def _walk(folder: Path) -> dict[str, int]:
    """Relative path -> bytes of every file under `folder`. Links are refused: they could point anywhere."""
    sizes = {}
    for file in folder.rglob("*"):
        path = file.relative_to(folder).as_posix()
        if file.is_symlink() or not (file.is_dir() or file.is_file()):
            raise BundleError(f"{path} in bundle {folder} is not a plain file.")
        if file.is_file():
            if file.suffix not in SUFFIXES:
                raise BundleError(f"{path} in bundle {folder} is none of {', '.join(SUFFIXES)}, so it is refused.")
            sizes[path] = file.stat().st_size
    return sizes


def _is_safetensors(file: Path) -> bool:
    """Whether a file begins as one: the length of a JSON object, and it. A renamed pickle or archive does not."""
    with file.open("rb") as stream:
        head = stream.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= file.stat().st_size - 8


def _read_manifest(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > LARGEST_MANIFEST:
            raise BundleError(f"{file} has more than {LARGEST_MANIFEST} bytes.")
        text = file.read_text(encoding="utf-8")
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise BundleError(f"{file.parent} is no bundle: it has no {MANIFEST}.") from error
    except (OSError, UnicodeDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{file} can't be read as JSON: {error}.") from error
    if not isinstance(data, dict):
        raise BundleError(f"{file} holds no JSON object.")
    return data


def faults(error: ValidationError) -> str:
    """What pydantic found, a phrase for each field, without its links."""
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two equal keys would let two readers see two manifests under one digest."""
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("an object has the same key twice")
    return data


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _canonical(data: object) -> bytes:
    """One byte string per content: sorted keys, no spaces, UTF-8; spacing and key order of the file don't count."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
