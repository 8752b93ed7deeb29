"""What things take: `t(B) = max(least, a + b B)` of a step by picture size, and the seconds around the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from serve.engine.core import Batch


class SizeCost(BaseModel):
    """Of pictures of one size, on one sampler.

    Attributes:
        fixed: Seconds of a step, whatever is in it.
        per_gflop: Seconds more for each GFLOP, padding included.
        control: Seconds more where any image of the batch has a control: its network is launched too.
        least: Seconds of the smallest step: a GPU that waits for its next kernel is no faster with less in a batch.
        image: Seconds of the engine for each image around its steps: encoding its text, decoding its latents.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int
    height: int
    fixed: float = Field(ge=0)
    per_gflop: float = Field(gt=0)
    control: float = Field(0.0, ge=0)
    least: float = Field(0.0, ge=0)
    image: float = Field(0.0, ge=0)

    def step_s(self, gflop: float, controlled: float) -> float:
        """Seconds of a step of so many GFLOP, a control being in it with this chance."""
        return max(self.least, self.fixed + self.per_gflop * gflop + self.control * controlled)


class CostTable(BaseModel):
    """Of one kind of sampler.

    Attributes:
        basis: `measured` here by us, or `assumed` from what others published.
        source: Where the numbers come from.
        sizes: At least one.
        before_s: Seconds of a job between its submission and the engine, where nothing waits.
        after_s: Seconds between its last decoded image and its end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    basis: Literal["measured", "assumed"]
    source: str
    sizes: tuple[SizeCost, ...] = Field(min_length=1)
    before_s: float = Field(0.0, ge=0)
    after_s: float = Field(0.0, ge=0)

    def size(self, width: int, height: int) -> SizeCost:
        """The row of a size, or that of the nearest number of pixels with the seconds around steps by pixels.

        What a step of another size takes follows from its GFLOP, which the caller knows.
        """
        pixels = width * height
        found = min(self.sizes, key=lambda one: (abs(one.width * one.height - pixels), one.width))
        share = pixels / (found.width * found.height)
        return found if share == 1 else found.model_copy(update={"image": share * found.image})

    def step_s(self, batch: Batch) -> float:
        """Seconds of a batch's step. An image's payload says how many controls it has."""
        size = self.size(batch.key.width, batch.key.height)
        return size.step_s(batch.gflop, any(image.payload for image in batch.images))

    def at_speed(self, speed: float) -> Self:
        """The table of a sampler so many times as fast; what is outside the sampler stays."""
        names = ("fixed", "per_gflop", "control", "least", "image")
        sizes = (size.model_copy(update={name: getattr(size, name) / speed for name in names}) for size in self.sizes)
        return self.model_copy(update={"sizes": tuple(sizes)})

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` wrote."""
        return cls.model_validate_json(path.read_text())

    def write(self, path: Path) -> None:
        """As JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=2) + "\n")
