from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from ops.capacity.__main__ import app
from ops.capacity.trace import write
from tests.ops.capacity.conftest import gpu, requests


def test_a_trace_and_a_policy_of_ones_own(tmp_path: Path) -> None:
    write(requests(gpu(), 2, 0.5, 60), tmp_path / "trace.csv")
    (tmp_path / "policy.yaml").write_text("fewest: 2\nmost: 2\n")
    arguments = ["simulate", "--trace", str(tmp_path / "trace.csv"), "--policy", str(tmp_path / "policy.yaml")]
    arguments += ["--tenants", "--csv", str(tmp_path / "gpus.csv")]
    for level in ([], ["--exact"]):
        result = CliRunner().invoke(app, [*arguments, *level])
        assert result.exit_code == 0, result.output
        assert "assumed" in result.output
        assert "team-0" in result.output
        header, first, *_ = (tmp_path / "gpus.csv").read_text().splitlines()
        assert (header, first) == ("seconds,paid,ready", "0,2,2")


def test_a_kind_that_is_not_listed_is_refused() -> None:
    result = CliRunner().invoke(app, ["simulate", "--gpu", "abacus"])
    assert result.exit_code == 2
    assert "t4, a100, h100" in result.output
