"""What an operator changes under load: the model that is served, the code that serves it, and the room on the disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from safetensors.torch import load_file

from controlnet.bundle import DEMO, Bundle, ControlWeights, write_bundle
from ops.faults.rig import Rig

DISK_SIZE = "64m"
DISK_FULL_S = 3.0


def promote(rig: Rig) -> None:
    """Serve the other of two versions; the second is made and registered when it is first needed."""
    versions = rig.cnserve("models", "list")
    if len(re.findall(r"sha256:", versions)) < 2:
        rig.cnserve("models", "push", str(sibling(rig.folder / "sibling").folder))
    champion = next(line for line in versions.splitlines() if "champion" in line)
    rig.cnserve("models", "promote", "--no-wait", "2" if re.search(r"\b1\b", champion.split("champion")[0]) else "1")


def redeploy(rig: Rig) -> None:
    """Deploy anew what runs, with another setting: every replica is replaced, one after the other."""
    rig.run(sys.executable, "-m", "ops.faults.redeployment", rig.gcs_address, timeout_s=180)


def fill_disk(rig: Rig) -> None:
    """Leave no room where artifacts are stored, for a while."""
    filler = rig.artifacts / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while file.write(b"\0" * (1 << 16)):
                pass
    except OSError:
        time.sleep(DISK_FULL_S)
    finally:
        filler.unlink()


def mount_disk(folder: Path) -> bool:
    """Give a folder a small disk of its own, to be filled; False where that is not allowed here."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0


def unmount_disk(folder: Path) -> None:
    """Take it away again."""
    subprocess.run(["umount", str(folder)], check=True)


def sibling(folder: Path) -> Bundle:
    """The demo with other weights: every convolution of the UNet's way up is turned a little."""
    demo = Bundle.open(DEMO)
    manifest = demo.manifest
    unet = load_file(demo.path("unet.safetensors"))
    changed = {key: value * 1.05 if key.startswith("output_blocks") else value for key, value in unet.items()}
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
        version="sibling",
        native_size=(manifest.native_size.width, manifest.native_size.height),
        licence=manifest.licence,
        training_data="the demo's weights, scaled",
        metrics={},
        created=datetime(2026, 1, 1, tzinfo=UTC),
        defaults=manifest.defaults,
    )
