"""What a finished stage tells: where its weights are, what was measured, and the commands that come next."""

import json
import shlex
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from controlnet.annotators import namesake
from controlnet.bundle import Bundle
from controlnet.training.config import Config
from controlnet.training.store import WEIGHTS, Summary


def report(config: Config, folder: Path, summary: Summary) -> str:
    """Say what a stage left in its folder, a sentence a line, then commands to type.

    Args:
        config: of the stage.
        folder: of the stage.
        summary: of it.
    """
    measured = ", ".join(f"{name} {value:.4g}" for name, value in summary.metrics.items())
    lines = [
        f"{folder.name}: {summary.steps} steps in {timedelta(seconds=round(summary.seconds))}; {measured}",
        f"weights: {folder / WEIGHTS}",
        f"pictures: {folder / 'grids' / f'{summary.steps:06d}.png'}",
        "next:",
        *(f"  {shlex.join(command)}" for command in _next(config, folder)),
    ]
    return "\n".join(lines)


def _next(config: Config, folder: Path) -> Sequence[Sequence[str]]:
    run, data = str(folder.parent), config["data"]
    if config["stage"] in ("vae", "base"):
        stage = {"vae": "base", "base": "control"}[config["stage"]]
        places = [f"folder={run}", f"data.kind={data['kind']}", f"data.train={data['train']}"]
        return [["controlnet", "train", f"stage={stage}", *places]]
    name = config["name"]
    if not config["bundle"]:
        target = f"bundles/{folder.parent.name}"
        made = [
            "python",
            "-m",
            "controlnet.training.export",
            run,
            target,
            "--control",
            name,
            "--name",
            folder.parent.name,
        ]
    else:
        base, target = Bundle.open(config["bundle"]).manifest, f"bundles/{name}"
        called = f"{base.name}-{name}"[:64].rstrip("._-")
        made = ["controlnet", "import", str(folder / WEIGHTS), target, "--base", str(config["bundle"])]
        made += ["--control", name, "--name", called, "--licence", base.licence]
    prompt, source = _example(config)
    if source:
        control = ["-m", f"{name}={source}"]
    else:
        control = ["-m", f"{name}=map.png"] if namesake(name) == "none" else ["-c", f"{name}=photo.png"]
    return [
        made,
        ["controlnet", "generate", prompt, "-b", target, *control, "-o", f"{name}.png"],
        ["cnserve", "models", "push", target],
    ]


def _example(config: Config) -> tuple[str, str]:
    """Words and a map to try a control with: those of the first pair."""
    data = config["data"]
    if data["kind"] != "pairs":
        return "a brass gear on a blue bench", ""
    folder = Path(data["held_out"] or data["train"])
    with (folder / "prompt.json").open(encoding="utf-8-sig") as listing:
        row = json.loads(next(line for line in listing if line.strip()))
    return row["prompt"], str(folder / row["source"])
