"""What holds whatever arrives, is cancelled and fails, in whatever order."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.engine.core import Image, Key
from serve.engine.loop import Engine
from serve.engine.scheduler import BUCKETS, Scheduler
from tests.serve.engine.conftest import LARGE, PINNED, SMALL, Arithmetic, Payload, Recorder, one_at_a_time

KEYS = (SMALL, LARGE, PINNED, Key(64, 64, "sha256:bb"))
TERMINAL = {"finished", "failed", "cancelled"}

# No judgement of speed: the machine may be shared.
often = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])

asked = st.tuples(
    st.sampled_from(KEYS),
    st.integers(1, 2),  # rows
    st.integers(1, 6),  # steps
    st.sampled_from([None] * 6 + ["start", 0, 2, "finish"]),  # where it is bad
)
deeds = st.lists(
    st.one_of(
        asked.map(lambda image: ("submit", image)),
        st.integers(0, 40).map(lambda which: ("cancel", which)),
        st.just(("step", None)),
        st.just(("finish", None)),
    ),
    max_size=60,
)
sizes = st.sampled_from([4, 6, 8, 16])  # the pinned bucket is 4


class History:
    """An engine, what was done to it, and what came of it."""

    def __init__(self, deeds, max_rows: int, decode_cap: int = 3) -> None:
        self.max_rows = max_rows
        self.model, self.heard, self.images = Arithmetic(), Recorder(), []
        self.cancelled: dict[str, int] = {}  # in time, and after how many batches
        self.engine = Engine(self.model, Scheduler(max_rows=max_rows), decode_cap=decode_cap)
        for deed, about in deeds:
            self.do(deed, about)
        while self.engine.step() or self.engine.finish():
            pass

    def do(self, deed: str, about) -> None:
        if deed == "submit":
            key, rows, steps, bad = about
            number = len(self.images)
            self.images.append(Image(str(number), "job", key, rows, steps, Payload(number, bad)))
            self.engine.submit(self.images[-1], self.heard)
        elif deed == "cancel" and self.engine.cancel(str(about)):
            self.cancelled[str(about)] = len(self.model.batches)
        elif deed in ("step", "finish"):
            getattr(self.engine, deed)()


@often
@given(deeds, sizes)
def test_every_image_ends_exactly_once(deeds, max_rows):
    history = History(deeds, max_rows)
    for image in history.images:
        kinds = history.heard.kinds(image)
        assert [kind for kind in kinds if kind in TERMINAL] == kinds[-1:]
        assert kinds.count("started") <= 1
    stats = history.engine.stats
    assert stats.finished + stats.failed + stats.cancelled == len(history.images)
    assert (stats.waiting, stats.running, stats.finishing) == (0, 0, 0)


@often
@given(deeds, sizes)
def test_an_image_ends_as_it_deserves(deeds, max_rows):
    history = History(deeds, max_rows)
    for image in history.images:
        kind, *about = history.heard.last(image)
        if image.id in history.cancelled:
            assert kind == "cancelled"
        elif image.payload.bad in ("start", "finish") or image.payload.bad in range(image.steps):
            assert (kind, str(about[0])) == ("failed", f"bad image {image.id}")
        else:
            assert (kind, *about) == ("finished", one_at_a_time(Arithmetic(), image))


@often
@given(deeds, sizes)
def test_no_image_has_more_or_fewer_steps_than_asked(deeds, max_rows):
    history = History(deeds, max_rows)
    worked = Counter(image.id for batch in history.model.stepped for image in batch.images)
    for image in history.images:
        told = [event[1:] for event in history.heard.of[image.id] if event[0] == "stepped"]
        assert told == [(k + 1, image.steps) for k in range(len(told))]
        assert worked[image.id] == len(told)
        if history.heard.last(image)[0] == "finished":
            assert len(told) == image.steps


@often
@given(deeds, sizes)
def test_rows_are_within_their_bucket_and_the_bucket_within_the_cap(deeds, max_rows):
    history = History(deeds, max_rows)
    for batch in history.model.batches:
        assert 1 <= batch.rows <= batch.bucket <= max_rows
        assert batch.bucket in BUCKETS
        assert {image.key for image in batch.images} == {batch.key}
        if batch.key.pinned:
            assert batch.bucket == batch.key.pinned
        else:
            assert batch.bucket < 2 * batch.rows


@often
@given(deeds, sizes)
def test_no_cancelled_image_is_stepped(deeds, max_rows):
    history = History(deeds, max_rows)
    for id, before in history.cancelled.items():
        assert id not in {image.id for batch in history.model.batches[before:] for image in batch.images}


arrivals = st.lists(st.one_of(st.none(), asked), max_size=80)  # None: a step


@often
@given(arrivals, sizes)
def test_no_key_waits_for_more_than_one_turn_of_each_other(arrivals, max_rows):
    scheduler = Scheduler(max_rows=max_rows)
    left: Counter[Key] = Counter()  # steps that are owed, by key
    waited: Counter[Key] = Counter()

    def turn() -> None:
        batch = scheduler.schedule()
        if batch is None:
            return
        scheduler.commit(batch, [None] * len(batch.images))
        left[batch.key] -= len(batch.images)
        waited.update(key for key in KEYS if left[key] and key != batch.key)
        waited[batch.key] = 0
        assert max(waited.values()) < len(KEYS)

    for number, arrival in enumerate(arrivals):
        if arrival is None:
            turn()
        else:
            key, rows, steps, _ = arrival
            scheduler.add(Image(str(number), "job", key, rows, steps, None))
            left[key] += steps
    while scheduler.busy:
        turn()
    assert not any(left.values())


@often
@given(arrivals, sizes)
def test_no_image_is_overtaken_by_more_than_a_bucket(arrivals, max_rows):
    scheduler = Scheduler(max_rows=max_rows)
    waiting: list[Image] = []  # oldest first
    overtaken: Counter[str] = Counter()  # rows that went before, though they came after

    def turn() -> None:
        batch = scheduler.schedule()
        if batch is None:
            return
        scheduler.commit(batch, [None] * len(batch.images))
        joined = [image for image in waiting if image in batch.images]
        for image in joined:
            waiting.remove(image)
        for passed in waiting:
            for image in joined:
                if image.key == passed.key and int(image.id) > int(passed.id):
                    overtaken[passed.id] += image.rows

    for number, arrival in enumerate(arrivals):
        if arrival is None:
            turn()
        else:
            key, rows, steps, _ = arrival
            waiting.append(Image(str(number), "job", key, rows, steps, None))
            scheduler.add(waiting[-1])
    while scheduler.busy:
        turn()
    assert max(overtaken.values(), default=0) <= scheduler.buckets[-1]
