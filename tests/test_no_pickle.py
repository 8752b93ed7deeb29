"""Nothing that could run code when it is read is read at run time: by the source, and by trying."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlnet.bundle import DEMO, Bundle, BundleError

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for package in ("controlnet", "serve", "ops") for path in (ROOT / package).rglob("*.py"))
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "pandas", "skops"}


def called(node: ast.Call) -> str:
    """`torch.load` of `torch.load(...)`."""
    return ast.unparse(node.func)


def keywords(node: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}


def faults(source: str) -> Iterator[str]:
    """What in a module's source may unpickle."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"imports {name}" for name in names if name.split(".")[0] in UNPICKLERS)
        elif isinstance(node, ast.Call):
            name, given = called(node), keywords(node)
            if name.endswith("torch.load") and given.get("weights_only") != "True":
                yield f"{name} without weights_only=True"
            elif (
                name.split(".")[-1] in ("load", "from_pretrained")
                and given.get("trust_remote_code", "False") != "False"
            ):
                yield f"{name} runs code that comes with a model"
            elif name in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False":
                yield f"{name} with pickles"
            elif name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec", "__import__"):
                yield name


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import joblib.numpy_pickle",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "eval(text)",
    ],
)
def test_what_unpickles_is_found(source: str) -> None:
    assert list(faults(source))


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES])
def test_no_module_unpickles(path: Path) -> None:
    assert list(faults(path.read_text())) == []


def test_nothing_that_serves_imports_the_converter() -> None:
    """It is started, by its path; a module that imported it would unpickle here."""
    importers = [
        path
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module == "controlnet.checkpoint"
        and path.parts[-2] != "checkpoint"
        if any(alias.name in ("unpickle", "read") for alias in node.names)
    ]
    assert importers == []


class Trap:
    """Whoever unpickles it makes a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._mark), "w")


def trap(mark: Path, *, zipped: bool) -> bytes:
    """A checkpoint as torch writes it, old or new."""
    data = pickle.dumps(Trap(mark))
    if not zipped:
        return data
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    return file.getvalue()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The bundle that ships, to be tampered with."""
    return Path(shutil.copytree(DEMO, tmp_path / "bundle"))


@pytest.mark.parametrize("zipped", [True, False], ids=["as new torch writes it", "as old torch does"])
def test_a_pickle_that_is_called_safetensors_is_refused(copied: Path, tmp_path: Path, zipped: bool) -> None:
    """Also where the manifest knows it: who can write one can write the other."""
    data = trap(tmp_path / "sprung", zipped=zipped)
    (copied / "unet.safetensors").write_bytes(data)
    manifest = json.loads((copied / "bundle.json").read_text())
    manifest["files"]["unet.safetensors"] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (copied / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"unet\.safetensors in bundle .* is no safetensors file"):
        Bundle.open(copied)
    assert not (tmp_path / "sprung").exists()


def test_the_trap_is_real(tmp_path: Path) -> None:
    pickle.loads(trap(tmp_path / "sprung", zipped=False)).close()
    assert (tmp_path / "sprung").exists()
