from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from controlnet.architecture import SD15
from ops.capacity.trace import Demand, Request, Shape, price, read, write
from ops.capacity.traffic import DAY_S, SHAPES, TENANTS, Traffic
from serve.jobs.cost import cost
from serve.jobs.spec import ControlSpec, JobSpec


def test_a_shape_costs_what_the_platform_charges_for_such_a_job() -> None:
    canny = ControlSpec("canny", "none", ("team/map.png",), {})
    spec = JobSpec("a gear", "blurred", (5, 6, 7), 30, 4.0, 768, 512, controls=(canny, canny))
    assert price(Shape(768, 512, steps=30, n=3, guidance=4.0, controls=2), SD15) == cost(spec, SD15)


def test_without_guidance_an_image_is_one_row() -> None:
    assert price(Shape(guidance=1.0, n=3), SD15).rows == 3
    assert price(Shape(guidance=2.0, n=3), SD15).rows == 6


def test_a_trace_is_read_as_it_was_written_and_sorted(tmp_path: Path) -> None:
    written = [Request(2.5, "b", Shape(n=2)), Request(1.25, "a", Shape(guidance=1.0, controls=0))]
    write(written, tmp_path / "trace.csv")
    assert read(tmp_path / "trace.csv") == written[::-1]


def test_a_trace_that_lacks_a_column_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("at,tenant\n1,a\n")
    with pytest.raises(ValueError, match="lacks controls, guidance, height, n, steps, width"):
        read(tmp_path / "trace.csv")


def test_a_bad_value_is_refused_with_its_line(tmp_path: Path) -> None:
    header = "at,tenant,width,height,steps,n,guidance,controls"
    (tmp_path / "trace.csv").write_text(f"{header}\n1,a,512,512,20,1,7.5,0\n2,a,512,512,many,1,7.5,0\n")
    with pytest.raises(ValueError, match="line 3"):
        read(tmp_path / "trace.csv")


def test_counts_keep_every_job_and_image() -> None:
    requests = Traffic(2.0, 900.0, swing=0.0).requests(seed=3)
    demand = Demand.of(requests, 7.0)
    assert demand.jobs.sum() == len(requests)
    assert demand.images == sum(one.shape.n for one in requests)
    assert sum(share for _, share in demand.shares) == pytest.approx(1)


def test_a_list_has_the_jobs_of_the_counts() -> None:
    traffic = Traffic(2.0, 900.0, bursts_per_hour=4.0)
    demand, requests = traffic.demand(10.0, seed=3), traffic.requests(seed=3)
    again = Demand.of(requests, 10.0)
    columns = [again.classes.index(one) for one in demand.classes if one in again.classes]
    present = [one in again.classes for one in demand.classes]
    assert np.array_equal(again.jobs[:, columns], demand.jobs[: len(again.jobs), present])
    assert requests == sorted(requests, key=lambda one: one.at)


def test_traffic_is_the_same_for_a_seed_and_another_for_another() -> None:
    traffic = Traffic(1.0, 600.0, bursts_per_hour=6.0)
    assert traffic.requests(1) == traffic.requests(1)
    assert traffic.requests(1) != traffic.requests(2)


def test_a_day_has_the_mean_rate_that_was_asked_and_shares_as_given() -> None:
    demand = Traffic(3.0).demand(60.0, seed=1)
    assert demand.jobs.sum() / DAY_S == pytest.approx(3.0, rel=0.02)
    expected = dict(SHAPES)
    for shape, share in demand.shares:
        assert share == pytest.approx(expected[shape], abs=0.01)
    first = sum(
        jobs for (tenant, _), jobs in zip(demand.classes, demand.jobs.sum(axis=0), strict=True) if tenant == "team-0"
    )
    assert first / demand.jobs.sum() == pytest.approx(1 / sum(share for _, share in TENANTS), abs=0.01)


def test_the_night_is_quieter_than_the_day() -> None:
    jobs = Traffic(3.0).demand(3600.0, seed=1).jobs.sum(axis=1)
    assert jobs[0] < jobs[12] / 3
