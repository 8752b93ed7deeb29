from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ops.capacity.prices import PRICES, read_prices
from ops.capacity.table import CostTable
from serve.config import Settings
from tests.ops.capacity.conftest import gpu, table


def listing(tmp_path: Path, **gpus: dict[str, object]) -> Path:
    path = tmp_path / "prices.yaml"
    about = {"price": 1.0, "spot_price": 0.4, "interruptions_per_hour": 0.1, "cold_start_s": 5, "max_rows": 16}
    entries = {name: {**about, "source": "a test", **entry} for name, entry in gpus.items()}
    path.write_text(yaml.safe_dump({"currency": "EUR", "gpus": entries}))
    return path


def test_a_speed_that_claims_to_be_measured_says_by_what() -> None:
    tables = [one.table for one in read_prices().values()]
    assert len(tables) >= 3
    assert [table.name for table in tables if table.basis == "measured"] == ["h100"]
    assert all("python -m ops.bench" in table.source for table in tables if table.basis == "measured")


def test_the_h100s_line_meets_what_was_measured() -> None:
    size = read_prices()["h100"].table.sizes[0]
    measured = {1: 0.03818, 4: 0.04244, 8: 0.07677, 16: 0.1479}  # ops/bench/RESULTS.md
    for images, seconds in measured.items():
        assert size.step_s(images * 2144, 1.0) == pytest.approx(seconds, rel=0.02)


def test_a_kind_is_as_many_times_as_fast_as_what_it_is_like(tmp_path: Path) -> None:
    own = table().model_dump()
    kinds = read_prices(listing(tmp_path, a={"table": own}, b={"like": "a", "speed": 2}, c={"like": "b", "speed": 3}))
    assert kinds["c"].table.sizes[0].fixed == pytest.approx(table().sizes[0].fixed / 6)
    assert kinds["c"].table.sizes[0].image == pytest.approx(table().sizes[0].image / 6)
    assert kinds["c"].table.before_s == table().before_s
    assert kinds["c"].currency == "EUR"


def test_a_table_may_be_a_file_beside_the_list(tmp_path: Path) -> None:
    table().write(tmp_path / "mine.json")
    assert read_prices(listing(tmp_path, a={"table": "mine.json"}))["a"].table == table()
    assert CostTable.read(tmp_path / "mine.json") == table()


def test_kinds_that_are_like_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not in a ring"):
        read_prices(listing(tmp_path, a={"like": "b"}, b={"like": "a"}))


@pytest.mark.parametrize("entry", [{}, {"like": "a", "table": table().model_dump()}])
def test_a_kind_has_one_table(tmp_path: Path, entry: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="either `table` or `like`"):
        read_prices(listing(tmp_path, a=entry))


def test_a_misspelt_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="spot_prize"):
        read_prices(listing(tmp_path, a={"table": table().model_dump(), "spot_prize": 1}))


@pytest.mark.parametrize("rows", [8, 16, 32])
def test_rows_are_claimed_as_the_settings_have_it(rows: int) -> None:
    settings = Settings(max_rows=rows)
    assert gpu().__class__(**{**_fields(), "max_rows": rows}).claimed_rows == settings.claimed_rows(1)


def _fields() -> dict[str, object]:
    return {name: getattr(gpu(), name) for name in gpu().__slots__}


def test_a_size_that_is_not_in_the_table_takes_the_nearest_and_decodes_by_pixels() -> None:
    found = table().size(1024, 512)
    assert found.per_gflop == table().sizes[0].per_gflop
    assert found.image == 2 * table().sizes[0].image


def test_the_list_names_who_published_the_speeds_that_are_assumed() -> None:
    text = PRICES.read_text()
    for entry in yaml.safe_load(text)["gpus"].values():
        if entry["table"]["basis"] == "assumed":
            assert "diffusers with torch.compile" in entry["table"]["source"]
            assert "diffusers (huggingface/diffusers, " in text
