"""The price list: kinds of GPU, what an hour costs, how fast they are. A YAML file of yours takes the place of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ops.capacity.table import CostTable
from serve.config import lookahead
from serve.engine.scheduler import BUCKETS

PRICES = Path(__file__).with_name("prices.yaml")


class Entry(BaseModel):
    """One kind as the file has it.

    Attributes:
        price: Of an hour, in the list's currency.
        spot_price: Of an hour that may end at any time.
        interruptions_per_hour: Of a spot machine, on average.
        cold_start_s: Seconds from asking for a machine to its first job, all of them paid.
        max_rows: Largest batch its memory holds, in UNet rows.
        table: A cost table: here, or in a JSON file beside the list.
        like: Another kind whose table it has, `speed` times as fast.
        source: Where price and speed come from.
    """

    model_config = ConfigDict(extra="forbid")

    price: float = Field(gt=0)
    spot_price: float = Field(gt=0)
    interruptions_per_hour: float = Field(ge=0)
    cold_start_s: float = Field(ge=0)
    max_rows: Literal[2, 4, 8, 16, 32]
    source: str
    table: CostTable | Path | None = None
    like: str | None = None
    speed: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _one_table(self) -> Entry:
        if (self.table is None) == (self.like is None):
            raise ValueError("say either `table` or `like`")
        return self


class Listing(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")

    currency: str
    gpus: dict[str, Entry]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind, its table at hand. Attributes as in `Entry`."""

    name: str
    price: float
    spot_price: float
    interruptions_per_hour: float
    cold_start_s: float
    max_rows: int
    table: CostTable
    currency: str = "USD"

    @property
    def claimed_rows(self) -> int:
        """Rows a dispatcher claims for each."""
        return self.max_rows + lookahead(self.max_rows)

    @property
    def buckets(self) -> tuple[int, ...]:
        """Of its batches."""
        return tuple(bucket for bucket in BUCKETS if bucket <= self.max_rows)


def read_prices(path: Path = PRICES) -> dict[str, Gpu]:
    """The kinds of a price list by name.

    Raises:
        ValueError: It is not one; with the field.
    """
    listing = Listing.model_validate(yaml.safe_load(path.read_text()))
    return {name: _gpu(name, listing, path.parent) for name in listing.gpus}


def _gpu(name: str, listing: Listing, folder: Path) -> Gpu:
    entry = listing.gpus[name]
    speed, origin = 1.0, entry
    passed = [name]
    while origin.like is not None:
        if origin.like not in listing.gpus or origin.like in passed:
            raise ValueError(f"{name} is like {origin.like!r}: choose one of {', '.join(listing.gpus)}, not in a ring")
        speed *= origin.speed
        passed.append(origin.like)
        origin = listing.gpus[origin.like]
    speed *= origin.speed
    table = CostTable.read(folder / origin.table) if isinstance(origin.table, Path) else origin.table
    assert table is not None
    return Gpu(
        name,
        entry.price,
        entry.spot_price,
        entry.interruptions_per_hour,
        entry.cold_start_s,
        entry.max_rows,
        table.at_speed(speed),
        listing.currency,
    )
