"""Lay a bundle out as the run folder it came from: any of its stages can then be trained further.

python -m controlnet.training.unpack controlnet/demo runs/demo
controlnet train stage=base folder=runs/demo data.train=...
"""

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue
from safetensors.torch import load_file
from torch import Tensor

from controlnet.bundle import Bundle
from controlnet.training.store import Summary, write_stage


def unpack(bundle: Bundle, folder: Path) -> None:
    """Write `vae`, `base`, `tokenizer` and `control-<name>` of a bundle, in float32.

    Args:
        bundle: Verified before anything is written.
        folder: Of the new run; stages that are there already are not touched.

    Raises:
        controlnet.bundle.BundleError: a file is not what the manifest says.
        FileExistsError: the folder holds one of the stages.
    """
    bundle.verify()
    manifest = bundle.manifest

    def state(file: str) -> dict[str, Tensor]:
        return {key: tensor.float() for key, tensor in load_file(bundle.path(file)).items()}

    stages = {
        "vae": {"vae": state("vae.safetensors")},
        "base": {"unet": state("unet.safetensors"), "text": state("text.safetensors")},
        **{f"control-{name}": {"control": state(control.file)} for name, control in manifest.controls.items()},
    }
    if present := [name for name in stages if (folder / name).exists()]:
        raise FileExistsError(f"{folder} has trained {', '.join(present)} already: unpack into another folder")
    shutil.copytree(bundle.path("tokenizer"), folder / "tokenizer", dirs_exist_ok=True)
    data = _stages(manifest.training_data)
    for name, parts in stages.items():
        write_stage(folder / name, parts, Summary(manifest.architecture, 0, 0.0, {}, origin=bundle.digest))
        (folder / name / "parameters.json").write_text(json.dumps(data.get(name, {}), indent=2) + "\n")


def _stages(told: JsonValue) -> Mapping[str, JsonValue]:
    """How each stage was trained; a bundle that was extended tells it of its base below `base`."""
    if not isinstance(told, Mapping):
        return {}
    base = told.get("base")
    if isinstance(base, Mapping) and "training_data" in base:
        return {**{key: value for key, value in told.items() if key != "base"}, **_stages(base["training_data"])}
    return told


def main() -> None:
    """Parse the command line and unpack."""
    parser = argparse.ArgumentParser(prog="python -m controlnet.training.unpack", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path, help="of the new run")
    options = parser.parse_args()
    unpack(Bundle.open(options.bundle), options.folder)


if __name__ == "__main__":
    main()
