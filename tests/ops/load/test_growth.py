from __future__ import annotations

import random

import pytest

from ops.load.growth import FEWEST, growth

MINUTES = [60.0 * i for i in range(100)]


def noisy(slope: float, start: float = 100.0, noise: float = 1.0) -> list[tuple[float, float]]:
    luck = random.Random(1)
    return [(at, start + slope * at + luck.gauss(0, noise)) for at in MINUTES]


def test_noise_is_flat() -> None:
    found = growth("api 1", "MiB", noisy(0.0), warm_s=600, judged_s=600)
    assert found.flat is True
    assert abs(found.share) < 0.01


def test_a_leak_is_not_and_its_size_is_told() -> None:
    found = growth("api 1", "MiB", noisy(0.002), warm_s=600, judged_s=600)
    assert found.flat is False
    assert found.change == pytest.approx(0.002 * (MINUTES[-1] - 600), rel=0.1)
    assert found.start == pytest.approx(100 + 0.002 * 600, rel=0.02)


def test_what_falls_is_flat() -> None:
    assert growth("api 1", "MiB", noisy(-0.002), warm_s=600, judged_s=600).flat is True


def test_the_warm_up_is_left_out() -> None:
    points = [(at, min(100.0, 20.0 + 0.05 * at)) for at in MINUTES]
    assert growth("api 1", "MiB", points, warm_s=0, judged_s=600).flat is False
    assert growth("api 1", "MiB", points, warm_s=1600, judged_s=600).flat is True


@pytest.mark.parametrize("jump", [lambda at: 12.0 * (at > 3000), lambda at: 0.02 * max(0.0, at - 4500)])
def test_what_grows_in_one_step_or_only_at_the_end_is_seen(jump) -> None:
    points = [(at, value + jump(at)) for at, value in noisy(0.0)]
    assert growth("api 1", "MiB", points, warm_s=600, judged_s=600).flat is False


def test_a_few_wild_samples_move_nothing() -> None:
    points = [(at, 1000.0 if i in (90, 95, 99) else value) for i, (at, value) in enumerate(noisy(0.0))]
    assert growth("api 1", "MiB", points, warm_s=600, judged_s=600).flat is True


def test_there_is_no_verdict_on_what_was_seen_for_a_moment() -> None:
    assert growth("api 1", "MiB", noisy(0.002)[:20], warm_s=0, judged_s=3600).flat is None
    assert growth("api 1", "MiB", noisy(0.002)[: FEWEST - 1], warm_s=0, judged_s=0).flat is None
    assert growth("api 1", "MiB", noisy(0.002)[:1], warm_s=600, judged_s=0).samples == 0


def test_a_handle_or_two_is_no_leak() -> None:
    points = [(at, 10.0 + (at > 3000)) for at in MINUTES]
    assert growth("api 1", "handles", points, warm_s=0, judged_s=600, slack=2.0).flat is True


def test_many_samples_are_fitted_as_few() -> None:
    points = [(float(at), 100 + 0.002 * at) for at in range(5000)]
    assert growth("api 1", "MiB", points, warm_s=0, judged_s=600).change == pytest.approx(0.002 * 4999, rel=0.01)
