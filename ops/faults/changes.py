"""What an operator changes under load: the model that is served, and the code that serves it.

What uses the registry does so in a process of its own, which ends with the power: one that kept MLflow's SQLite file
open would look for its journal on the disk that was mounted since.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from safetensors.torch import load_file

from controlnet.bundle import DEMO, Bundle, ControlWeights, write_bundle
from ops.faults.rig import ROOT, Rig
from serve.registry.registry import CHAMPION, Registry

SERVED_S = 12.0
"""For which a version is served that is deleted afterwards."""


def promote(rig: Rig) -> None:
    """Serve the demo, or its sibling where that is served; what is not registered yet is."""
    folder = _aside(rig) / "sibling"
    other = Bundle.open(folder) if folder.exists() else sibling(folder)
    _in_registry(rig, "promote", other.folder)


def redeploy(rig: Rig) -> None:
    """Deploy anew what runs, with another setting: every replica is replaced, one after the other."""
    rig.run(sys.executable, "-m", "ops.faults.redeployment", rig.gcs_address, timeout_s=180)


def delete_version(rig: Rig, scale: float) -> str:
    """Serve a version of its own weights for a while, then the one before, and delete it from the registry.

    Args:
        rig: The platform.
        scale: Of the weights that are changed: another is another version.

    Returns:
        Its digest. Jobs that were accepted with it may fail, with that reason.
    """
    folder = _aside(rig) / f"sibling-{scale:.6f}"
    bundle = Bundle.open(folder) if folder.exists() else sibling(folder, scale)
    _in_registry(rig, "delete", bundle.folder)
    return bundle.digest


def _promote(registry: Registry, folder: str) -> None:
    """Serve the first version that is not served, of the demo and a bundle."""
    versions = {registry.push(bundle).version for bundle in (DEMO, folder)}
    versions.discard(registry.aliases()[CHAMPION])
    registry.promote(min(versions))


def _delete(registry: Registry, folder: str, url: str) -> None:
    """Serve a bundle for a while, then what was before, and delete its version."""
    from mlflow import MlflowClient  # which takes seconds to import

    before = registry.aliases()[CHAMPION]
    made = registry.push(folder)
    registry.promote(made.version)
    time.sleep(SERVED_S)
    registry.promote(before)
    MlflowClient(tracking_uri=url).delete_model_version(registry.name, made.version)


def _aside(rig: Rig) -> Path:
    """A folder for bundles, which no power cut reaches."""
    return rig.folder.with_name(f"{rig.folder.name}-bundles")


def _in_registry(rig: Rig, what: str, folder: Path) -> None:
    """Run `main`, of this checkout whichever the platform runs."""
    module = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "ops.faults.changes")
    rig.run(*module, what, rig.registry_url, str(rig.folder / "data" / "mlruns"), str(folder))


def sibling(folder: Path, scale: float = 1.05) -> Bundle:
    """The demo with other weights: every convolution of the UNet's way up is scaled."""
    demo = Bundle.open(DEMO)
    manifest = demo.manifest
    unet = load_file(demo.path("unet.safetensors"))
    changed = {key: value * scale if key.startswith("output_blocks") else value for key, value in unet.items()}
    canny = manifest.controls["canny"]
    return write_bundle(
        folder,
        architecture=manifest.architecture,
        unet=changed,
        vae=load_file(demo.path("vae.safetensors")),
        text=load_file(demo.path("text.safetensors")),
        controls={"canny": ControlWeights(load_file(demo.path(canny.file)), canny.annotator, canny.parameters)},
        tokenizer=demo.path("tokenizer"),
        name=manifest.name,
        version=folder.name,
        native_size=(manifest.native_size.width, manifest.native_size.height),
        licence=manifest.licence,
        training_data="the demo's weights, scaled",
        metrics={},
        created=datetime(2026, 1, 1, tzinfo=UTC),
        defaults=manifest.defaults,
    )


def main(what: str, url: str, root: str, folder: str) -> None:
    """Do what needs the registry: `promote` another version, or serve a bundle and `delete` its version."""
    registry = Registry(url, Bundle.open(DEMO).manifest.name, Path(root))
    if what == "promote":
        _promote(registry, folder)
    else:
        _delete(registry, folder, url)


if __name__ == "__main__":
    main(*sys.argv[1:])
