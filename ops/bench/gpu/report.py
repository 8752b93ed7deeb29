"""What was measured: a table to read, Markdown for RESULTS.md, JSON for the next run to compare with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.bench.gpu.checks import Parity
from ops.bench.gpu.goals import Figure, Rung


@dataclass(frozen=True, slots=True)
class Report:
    """Everything.

    Attributes:
        device: Its name.
        dry: It was a CPU or a small size: the figures say nothing.
        size: Name of the size.
        torch: Its version.
        made: When, ISO 8601.
        seconds: The whole run took.
        command: That made it.
        peak: The device's stated 10^12 operations a second.
        matmul: Those of a large product of matrices, measured here.
        steered: How much the control changes a prediction.
        parity: The reference's first, then each bucket's.
        independent: Whether an image's bits are the same among any neighbours, and in any slot, by rows.
        ladder: Ways to run a step.
        figures: The goals.
        notes: What was left out, and why.
    """

    device: str
    dry: bool
    size: str
    torch: str
    made: str
    seconds: float
    command: str
    peak: float
    matmul: float
    steered: float
    parity: list[Parity]
    independent: dict[int, tuple[bool, bool]]
    ladder: list[Rung]
    figures: list[Figure]
    notes: list[str]

    @property
    def sound(self) -> bool:
        """Whether the figures count."""
        reference, *buckets = self.parity
        close = reference.finite and all(parity.within(reference) for parity in buckets)
        return close and all(alike for alike, _ in self.independent.values()) and self.steered > 0.01

    def markdown(self) -> str:
        """A section for ops/bench/RESULTS.md."""
        lines = [f"## GPU: {self.device}, {self.made[:10]}", ""]
        if self.dry:
            lines += ["**A dry run: on a CPU or at a small size figures say nothing of a GPU. Don't keep them.**", ""]
        if not self.sound:
            lines += ["**Void: the engine's answers are not the reference's. See the checks.**", ""]
        lines += [
            f"`{self.command}`, torch {self.torch}, size {self.size}, {self.seconds:.0f} s in all. A product of "
            f"matrices gives {self.matmul:.4g} TFLOP/s here. FLOPs are those of `controlnet.flops`; embedded hints, "
            f"norms and padding don't count.",
            *([""] if self.notes else []),
            *self.notes,
            "",
            "| goal | figure | measured | target | met |",
            "|---|---|---|---|---|",
        ]
        for figure in self.figures:
            sign = "<=" if figure.at_most else ">="
            target = "" if figure.target is None else f"{sign} {figure.target:g}"
            met = {None: "", True: "yes", False: "no"}[None if self.dry else figure.met]
            lines.append(
                f"| {figure.goal} | {figure.what} | {figure.value:.4g} {figure.unit}".rstrip()
                + f" | {target} | {met} |"
            )
        lines += ["", "| a step with one control | rows | ms | TFLOP/s | of the peak |", "|---|---|---|---|---|"]
        lines += [
            f"| {rung.way} | {rung.rows} | {rung.ms:.4g} | {rung.tflops:.4g} | {100 * rung.tflops / self.peak:.1f} % |"
            for rung in self.ladder
        ]
        lines += ["", "| against float32, worst row | error | cosine | finite |", "|---|---|---|---|"]
        lines += [
            f"| {parity.name} | {parity.error:.2e} | {parity.cosine:.6f} | {'yes' if parity.finite else 'no'} |"
            for parity in self.parity
        ]
        alike, anywhere = (
            ", ".join(f"{rows}: {'yes' if same[which] else 'NO'}" for rows, same in sorted(self.independent.items()))
            for which in (0, 1)
        )
        lines += [
            "",
            f"An image's bits are the same among any neighbours, by rows of the bucket: {alike}; in any slot, which is "
            f"told and not asked for: {anywhere}. "
            f"The control changes a prediction by {100 * self.steered:.0f} % of its norm.",
            "",
        ]
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Leave gpu.json and gpu.md in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        data = asdict(self) | {"sound": self.sound}
        (folder / "gpu.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        (folder / "gpu.md").write_text(self.markdown(), encoding="utf-8")
