"""Results for people and for machines."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from rich import table as rich_table
from rich.console import Console

from ops.bench.figure import Figure
from ops.bench.table import Table, text

LIBRARIES = "torch", "diffusers", "transformers", "numpy"


@dataclass(frozen=True, slots=True)
class Report:
    """All of one run.

    Attributes:
        command: What was typed.
        began: When.
        load: Of the machine over the minute before, processes.
        minutes: How long it took.
        results: In the order of measuring.
        note: What a reader must know of the machine.
    """

    command: str
    began: datetime
    load: float
    minutes: float
    results: Sequence[Figure | Table]
    note: str = ""

    @property
    def figures(self) -> list[Figure]:
        """Those results that are one number."""
        return [one for one in self.results if isinstance(one, Figure)]

    @property
    def tables(self) -> list[Table]:
        """The others."""
        return [one for one in self.results if isinstance(one, Table)]

    def to_json(self) -> str:
        """Everything."""
        return json.dumps(
            {
                "began": self.began.isoformat(timespec="seconds"),
                "command": self.command,
                "commit": commit(),
                "machine": machine() | {"load_before": self.load},
                "versions": versions(),
                "minutes": self.minutes,
                "note": self.note,
                "figures": [asdict(figure) | {"met": figure.met} for figure in self.figures],
                "tables": [asdict(table) for table in self.tables],
            },
            indent=2,
        )

    def print(self, console: Console) -> None:
        """Tables in colour."""
        if self.figures:
            console.print(_rich(_figures(self.figures)))
        for table in self.tables:
            console.print(_rich(table))

    def to_markdown(self) -> str:
        """A section of RESULTS.md."""
        about = machine()
        lines = [
            f"## {stamp(self.began)}",
            "",
            f"`{self.command}`, {self.minutes:.1f} minutes. {about['cpu']}, {about['cores']} cores, "
            f"{about['threads']} threads, load {self.load:.1f} before; "
            + ", ".join(f"{name} {number}" for name, number in versions().items())
            + ".",
            "",
            *([self.note, ""] if self.note else []),
        ]
        for table in [*([_figures(self.figures)] if self.figures else []), *self.tables]:
            lines += [f"**{table.title}**", "", table.markdown(), ""]
        details = {figure.name: figure.detail for figure in self.figures if figure.detail}
        if details:
            lines += ["<details><summary>What the figures were made of</summary>", "", "```"]
            lines += [f"{name}: {json.dumps(_rounded(detail))}" for name, detail in details.items()]
            lines += ["```", "", "</details>", ""]
        return "\n".join(lines)


def record(report: Report, history: Path) -> None:
    """Put the run's section under the title of RESULTS.md, above those of earlier runs."""
    title, _, earlier = history.read_text().partition("\n## ")
    sections = [title.rstrip() + "\n", report.to_markdown()] + ([f"## {earlier}"] if earlier else [])
    history.write_text("\n".join(sections))


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    lines = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", lines)
    flags = set((re.search(r"flags\s*:\s*(.+)", lines) or re.match("", ""))[0].split())  # type: ignore[index]
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}),
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Of Python and of the libraries that compute."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit that was measured, and whether files were changed since."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no commit"


def typed(module: str, arguments: Sequence[str], secrets: Sequence[str] = ()) -> str:
    """The command line as it was typed, with `***` for what nobody may read in a report."""
    for secret in filter(None, secrets):
        arguments = [argument.replace(secret, "***") for argument in arguments]
    return f"python -m {module} {shlex.join(arguments)}".rstrip()


def stamp(began: datetime) -> str:
    """When it was, and what was measured."""
    return f"{began:%Y-%m-%d %H:%M} UTC, {commit()}"


def now() -> datetime:
    """UTC."""
    return datetime.now(UTC)


def _figures(figures: Sequence[Figure]) -> Table:
    verdicts = {True: "met", False: "missed", None: ""}
    rows: list[list[str | float]] = []
    for figure in figures:
        target = "" if figure.target is None else f"{'<=' if figure.at_most else '>='} {figure.target:g}"
        value = "refused" if figure.value is None else f"{figure.value:.2f}"
        title = figure.title if not figure.refused else f"{figure.title} ({figure.refused})"
        rows.append([figure.name, title, value, target, verdicts[figure.met]])
    return Table("Figures", ["figure", "what", "value", "target", ""], rows)


def _rich(table: Table) -> rich_table.Table:
    drawn = rich_table.Table(*table.columns, title=table.title)
    for row in table.rows:
        drawn.add_row(*(text(cell) for cell in row))
    return drawn


def _rounded(value: object) -> object:
    match value:
        case float():
            return float(f"{value:.4g}")
        case dict():
            return {key: _rounded(one) for key, one in value.items()}
        case list() | tuple():
            return [_rounded(one) for one in value]
        case _:
            return value
