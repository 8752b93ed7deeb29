from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ops.load.census import Process, Sample
from ops.load.deeds import Deed
from ops.load.growth import Growth
from ops.load.leaks import generations, handles, memory, stored


def process(pid: int, born: float, role: str = "sampler", pss: float = 100.0, handles: int = 10) -> Process:
    return Process(pid, born, role, pss, pss, handles, 5)


def samples(count: int = 40, **rows: float) -> list[Sample]:
    """One sampler until it is killed at 20, another from then on with the same pid, and rows at so many a second."""
    return [
        Sample(
            float(at),
            [process(7, 0.0 if at < 20 else 20.0, pss=100.0 + at % 20, handles=10 + (at if at < 20 else 0))],
            {"jobs": 2 * at, **{table: int(rate * at) for table, rate in rows.items()}},
            files=50,
        )
        for at in range(count)
    ]


def test_a_killed_process_is_followed_by_another_generation() -> None:
    found = generations(samples())
    assert {name: len(history) for name, history in found.items()} == {"sampler 1": 20, "sampler 2": 20}


def test_a_worker_is_called_what_it_became() -> None:
    idle = Sample(0.0, [process(7, 0.0, "ray::IDLE")], {"jobs": 0}, 0)
    assert list(generations([idle, *samples(3)[1:]])) == ["sampler 1"]


def test_each_generation_is_judged_by_itself() -> None:
    grown = {one.of: one.flat for one in handles(samples(), 0.0, 10.0) if one.what == "handles"}
    assert grown == {"sampler 1": False, "sampler 2": True}
    assert [one.flat for one in memory(samples(), 0.0, 10.0)] == [False, False]


def test_rows_of_every_job_are_counted_for_each_job() -> None:
    found = {one.of: one for one in stored(samples(events=8.0, holds=8.0), [], 5.0, 10.0, 4.0)}
    assert found["events"].flat is True
    assert found["events"].what == "rows a job"
    assert found["holds"].flat is False  # these go with what expires: they may not grow with the jobs
    assert found["data folder"].flat is True


def test_keys_may_come_with_rotations_and_not_without() -> None:
    turning = [Deed(float(at), at + 1.0, "rotate") for at in range(0, 40, 4)]
    watched = samples(keys=0.25)
    judged = {
        len(deeds): next(one.flat for one in stored(watched, deeds, 0.0, 10.0, 4.0) if one.of == "keys")
        for deeds in ([], turning)
    }
    assert judged == {0: False, 10: True}


def folder(files: Sequence[int], holds: Sequence[int]) -> Growth:
    watched = [
        Sample(float(at), [], {"jobs": at, "holds": h}, f) for at, (f, h) in enumerate(zip(files, holds, strict=True))
    ]
    return next(one for one in stored(watched, [], 0.0, 10.0, 4.0) if one.of == "data folder")


def test_files_may_come_with_what_is_held_and_not_without() -> None:
    busier = [100 + at for at in range(40)]
    assert folder(busier, busier).flat is True
    assert folder(busier, [100] * 40).flat is False
    assert folder([100] * 40, [100] * 40).flat is True


@pytest.mark.parametrize(("of_each", "flat"), [(lambda at: 2, True), (lambda at: 2 + at / 40, False)])
def test_what_was_swept_is_counted_for_each_job_that_has_expired(of_each: Callable[[int], float], flat: bool) -> None:
    watched = [
        Sample(float(at), [], {"jobs": 5 * at, "swept": int(of_each(at) * 5 * max(0, at - 4))}, 0) for at in range(40)
    ]
    found = next(one for one in stored(watched, [], 8.0, 10.0, 4.0) if one.of == "swept")
    assert (found.what, found.flat) == ("rows an expired job", flat)
