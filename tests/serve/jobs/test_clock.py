"""One time for several processes, whatever their machines' wall clocks say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from serve.errors import QuotaExceeded
from serve.jobs.clock import MEASURE_EVERY_S, DatabaseClock, clock_of, since_boot
from serve.jobs.database import open_database, read_database
from serve.jobs.quotas import Quota
from serve.jobs.store import READY, WEEK_S, JobResult, JobStore, StoredImage

SKEW_S = 31.0
HOUR_S = 3600.0


class Machine:
    """What a process sees of its machine's time; the wall clock can be set."""

    def __init__(self, skew_s: float = 0.0, started_s: float = 0.0, boot: str | None = "this start") -> None:
        self.skew_s = skew_s
        self.started_s = started_s
        self.boot = boot

    def clock(self) -> DatabaseClock:
        return DatabaseClock(
            lambda: time.time() + self.skew_s, lambda: since_boot() - self.started_s, lambda: self.boot
        )


class Server:
    """A connection to a server whose clock tests move."""

    def __init__(self) -> None:
        self.ticks = 100.0
        self.now = 5_000.0
        self.asked = 0
        self.there_s = self.back_s = 0.0

    def exec_driver_sql(self, _statement: str) -> Any:
        self.asked += 1
        self.ticks += self.there_s
        answer = self.now
        self.ticks += self.back_s
        return type("Answer", (), {"scalar_one": staticmethod(lambda: answer)})


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def measuring(server: Server) -> DatabaseClock:
    return DatabaseClock(lambda: 0.0, lambda: server.ticks, lambda: None)


def test_the_servers_time_is_that_of_the_middle_of_the_question(server, measuring):
    server.there_s = server.back_s = 2.0
    measuring.measure(server)
    assert measuring() == 5_002.0


def test_a_slow_answer_moves_a_known_time_no_further_than_it_proves(server, measuring):
    measuring.measure(server)
    measuring.outdate()
    server.now, server.back_s = 5_001.0, 10.0  # it is 5,001 .. 5,011 now, and 5,010 by what was known
    measuring.measure(server)
    assert measuring() == 5_010.0
    measuring.outdate()
    server.now, server.back_s = 5_011.5, 0.25  # 5,011.5 .. 5,011.75 now, and 5,010.25 by what was known
    measuring.measure(server)
    assert measuring() == 5_011.5


def test_a_server_is_asked_once_a_minute(server, measuring):
    for _ in range(3):
        measuring.measure(server)
    assert server.asked == 1
    server.ticks += MEASURE_EVERY_S
    measuring.measure(server)
    assert server.asked == 2


def test_another_servers_time_is_taken_at_once(server, measuring):
    measuring.measure(server)
    server.now += 40.0
    measuring.outdate()
    measuring.measure(server)
    assert measuring() == 5_040.0


def test_a_question_that_fails_leaves_the_time_as_it_was(server, measuring):
    measuring.measure(server)
    measuring.outdate()

    def away(_statement: str) -> Any:
        raise ConnectionError

    server.exec_driver_sql = away
    with pytest.raises(ConnectionError):
        measuring.measure(server)
    assert measuring() == 5_000.0


def asked(engine: sa.Engine) -> list[str]:
    """The questions for the server's time from now on."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "clock_timestamp" in statement:
            found.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    return found


def test_a_transaction_asks_for_no_time_and_a_new_connection_does(postgres_database):
    engine = open_database(postgres_database.url.render_as_string(hide_password=False))
    store, questions = JobStore(engine), asked(engine)
    for _ in range(3):
        store.take_lock("lock", "a", 0)
        store.get("job_0")
    assert questions == []
    engine.dispose()
    store.get("job_0")
    store.get("job_0")
    assert len(questions) == 1
    engine.dispose()


# Two processes whose wall clocks are 31 s apart: on PostgreSQL two machines, on SQLite one that was set in between.


@pytest.fixture(params=[SKEW_S, -SKEW_S], ids=["ahead", "behind"])
def other(request: pytest.FixtureRequest, database_url: str) -> Machine:
    machines = not database_url.startswith("sqlite")
    return Machine(request.param, started_s=12_345.0 if machines else 0.0)


@pytest.fixture
def one() -> Machine:
    return Machine()


@pytest.fixture
def stores(database_url: str, one: Machine, other: Machine) -> Iterator[tuple[JobStore, JobStore]]:
    engines = [open_database(database_url, machine.clock()) for machine in (one, other)]
    yield JobStore(engines[0]), JobStore(engines[1])
    for engine in engines:
        engine.dispose()


def test_their_times_agree(stores):
    first, second = (store.clock() for store in stores)
    assert first == pytest.approx(second, abs=1.0)


def test_a_lease_is_as_long_for_both(stores, spec, model):
    for mine, theirs in (stores, stores[::-1]):
        mine.submit("demo", spec, model)
        (lease,) = mine.claim("mine", 30, 1)
        assert theirs.claim("theirs", 30, 1) == []
        mine.succeed(lease, JobResult(()))


def test_a_lock_is_held_for_both_and_no_longer(stores):
    for mine, theirs in (stores, stores[::-1]):
        assert mine.take_lock(READY, "mine", 15)
        assert theirs.locked(READY)
        assert not theirs.take_lock(READY, "theirs", 15)
        mine.take_lock(READY, "mine", 0)
        assert not theirs.locked(READY)


def test_a_rate_is_one_for_both(stores):
    assert [store.rates.take("demo", 2).left for store in stores] == [1, 0]
    for store in stores:
        with pytest.raises(QuotaExceeded):
            store.rates.take("demo", 2)


def test_a_day_ends_for_both_at_once(stores):
    first, second = (store.spent.left("demo", Quota(images_per_day=1))[0].reset_s for store in stores)
    assert first % 86400 == pytest.approx(second % 86400, abs=1.0)


def test_a_step_of_the_wall_clock_expires_nothing(stores, one, other, spec, model):
    mine, theirs = stores
    job = mine.submit("demo", spec, model)
    mine.succeed(mine.claim("mine", 30, 1)[0], JobResult((StoredImage("demo/a.png", 7, 8, 8),)))
    mine.submit("demo", spec, model)
    (lease,) = mine.claim("mine", 30, 1)
    mine.take_lock("lock", "mine", 15)
    for step in (2 * WEEK_S, -HOUR_S):
        one.skew_s = other.skew_s = step
        assert mine.renew([lease], 30) == []
        assert theirs.retention.expire() == 0
        assert theirs.claim("theirs", 30, 1) == []
        assert not theirs.take_lock("lock", "theirs", 15)
        assert mine.get(job.id).result is not None


# SQLite


@pytest.fixture
def url(sqlite_template, tmp_path) -> str:
    (tmp_path / "jobs.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'jobs.db'}"


def opened_time(url: str, machine: Machine) -> float:
    engine = open_database(url, machine.clock())
    now = clock_of(engine)() - time.time()
    engine.dispose()
    return now


def test_the_wall_clock_counts_again_when_the_machine_has_started_again(url):
    assert opened_time(url, Machine()) == pytest.approx(0, abs=1)
    assert opened_time(url, Machine(HOUR_S)) == pytest.approx(0, abs=1)
    assert opened_time(url, Machine(HOUR_S, boot="the next start")) == pytest.approx(HOUR_S, abs=1)


def test_a_machine_whose_starts_have_no_names_keeps_the_wall_clock(url):
    assert opened_time(url, Machine(HOUR_S, boot=None)) == pytest.approx(HOUR_S, abs=1)


def test_who_only_looks_takes_the_time_that_was_agreed_on(url, monkeypatch):
    engine = open_database(url)
    agreed = clock_of(engine)
    ahead = time.time() + HOUR_S
    monkeypatch.setattr("serve.jobs.database.DatabaseClock", lambda: DatabaseClock(lambda: ahead))
    looks = read_database(url)
    assert clock_of(looks)() == pytest.approx(agreed(), abs=1)
    looks.dispose()
    engine.dispose()
