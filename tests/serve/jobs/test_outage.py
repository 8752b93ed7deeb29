"""A database that is away, full or too slow is one thing to its callers: `StoreUnavailable`."""

from __future__ import annotations

import pickle
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa

from ops.services import Missing, Postgres
from serve.errors import Overloaded, ServeError
from serve.jobs import database, migrations
from serve.jobs import store as store_module
from serve.jobs.database import StoreUnavailable, durable, open_database, reach_database
from serve.jobs.quotas import Quota
from serve.jobs.schema import jobs, locks, turns
from serve.jobs.store import JobResult, JobStore, LeaseLost


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One of its own, to be stopped at will."""
    try:
        own = Postgres()
    except Missing as missing:
        pytest.skip(str(missing))
    with own:
        yield own


@pytest.fixture
def postgres_store(server: Postgres) -> Iterator[JobStore]:
    engine = open_database(server.url())
    yield JobStore(engine)
    engine.dispose()


def test_it_is_told_to_clients_as_503_with_a_time():
    error = StoreUnavailable("away", retry_after_s=2)
    assert (error.status, error.type, error.retry_after_s) == (503, Overloaded.type, 2)
    assert type(ServeError.from_problem(error.problem())) is Overloaded
    assert pickle.loads(pickle.dumps(error)).problem() == error.problem()


def test_a_stopped_server_is_told_and_a_started_one_is_found_again(server, postgres_store, spec, model):
    job = postgres_store.submit("demo", spec, model)
    server.stop()
    calls = [
        lambda: postgres_store.get(job.id),
        lambda: postgres_store.submit("demo", spec, model),
        lambda: postgres_store.claim("a", 30, 1),
        lambda: postgres_store.take_lock("lock", "a", 1),
        lambda: open_database(server.url()),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()
    server.start()
    assert postgres_store.get(job.id) == job


def test_a_process_that_starts_meanwhile_waits_for_it(server, caplog, monkeypatch):
    """Ray Serve gives a dispatcher up after three constructors that failed, and with it all that `cnserve up` runs."""
    monkeypatch.setattr(database, "REACH_EVERY_S", 0.05)
    server.stop()
    with ThreadPoolExecutor(1) as thread:
        reached = thread.submit(reach_database, server.url())
        while len(caplog.records) < 5:
            time.sleep(0.01)
        assert not reached.done()
        server.start()
        reached.result(timeout=30).dispose()
    assert "the store is away" in caplog.messages


def test_a_crash_loses_nothing_that_was_accepted(server, postgres_store, spec, model):
    accepted = [postgres_store.submit("demo", spec, model) for _ in range(5)]
    server.stop(crash=True)
    server.start()
    assert [postgres_store.get(job.id) for job in accepted] == accepted


def test_a_session_that_the_server_ends_in_the_middle_is_told_and_writes_nothing(server, postgres_store, spec, model):
    engine = open_database(server.url())
    job = postgres_store.submit("demo", spec, model)

    def cut_off() -> None:
        with durable(engine).begin() as connection:
            connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(tenant="other"))
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            with psycopg.connect(host=str(server.folder), user="postgres", dbname="postgres") as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            connection.execute(sa.update(jobs).values(tenant="other"))

    with pytest.raises(StoreUnavailable):
        cut_off()
    assert postgres_store.get(job.id) == job
    engine.dispose()


def test_a_lock_that_does_not_come_free_is_told(server, postgres_store):
    engine = open_database(server.url())
    insert = sa.insert(locks).values(name="x", owner="a", until=0)
    with durable(engine).begin() as holder, durable(engine).connect() as waiter:
        holder.execute(insert)
        waiter.exec_driver_sql("SET LOCAL lock_timeout = '20ms'")
        with pytest.raises(StoreUnavailable):
            waiter.execute(insert)
    engine.dispose()


def test_a_statement_that_takes_too_long_is_told(server, postgres_store):
    engine = open_database(server.url())
    with durable(engine).connect() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = '20ms'")
        with pytest.raises(StoreUnavailable):
            connection.exec_driver_sql("SELECT pg_sleep(10)")
    engine.dispose()


def test_a_lock_that_is_held_holds_no_connection_for_long(server, postgres_store):
    """Longer than deadlocks are found in; and two rounds of others give up before a wait for a connection does."""
    engine = open_database(server.url())
    with engine.connect() as connection:
        found, deadlock = (
            connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("lock_timeout", "deadlock_timeout")
        )
    assert (found, deadlock) == ("4s", "1s")
    assert engine.pool.timeout() > 2 * 4
    engine.dispose()


def test_a_version_gives_up_behind_a_long_reader(server, postgres_store, monkeypatch):
    """Everybody who needs the table waits behind it."""
    monkeypatch.setattr(migrations, "TABLE_WAIT_MS", 20)
    engine = open_database(server.url())
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as reader:
        reader.execute(sa.select(turns)).all()
        with pytest.raises(StoreUnavailable):
            migrations.downgrade(durable(engine), "7")
    engine.dispose()


def test_looks_apart_wait_for_no_submission(server, postgres_store, spec, model, monkeypatch):
    """While `holds` is locked submissions take all connections; once it is free, they are done."""
    patient = database.POSTGRES_OPTIONS["options"].replace("lock_timeout=4s", "lock_timeout=60s")
    monkeypatch.setitem(database.POSTGRES_OPTIONS, "options", patient)
    engine = open_database(server.url())
    store, aside = JobStore(engine), database.apart(engine)
    jobs = []
    threads = [threading.Thread(target=lambda: jobs.append(store.submit("demo", spec, model))) for _ in range(16)]
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with psycopg.connect(host=str(server.folder), user="postgres", dbname="postgres") as holder:
        holder.execute("LOCK TABLE holds")
        for thread in threads:
            thread.start()
        with aside.connect() as connection:
            while connection.exec_driver_sql(waiting).scalar() < 15:
                threads[0].join(0.005)
        assert engine.pool.checkedout() == 15
        assert JobStore(aside).locked("ready") is False
        assert jobs == []
    for thread in threads:
        thread.join()
    assert len(jobs) == 16
    aside.dispose()
    engine.dispose()


def test_too_few_connections_are_told(server, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.02)
    engine = open_database(server.url())
    taken = [engine.connect() for _ in range(15)]
    with pytest.raises(StoreUnavailable, match="busy"):
        engine.connect()
    for connection in taken:
        connection.close()
    engine.connect().close()
    engine.dispose()


def test_a_writer_that_waits_too_long_for_another_is_told_on_sqlite(folder, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.02)
    engine = open_database(f"sqlite:///{folder / 'jobs.db'}")
    with durable(engine).begin(), pytest.raises(StoreUnavailable), durable(engine).begin():
        pass
    engine.dispose()


def test_a_full_disk_is_told_on_sqlite_and_writes_nothing(folder, spec, model):
    engine = open_database(f"sqlite:///{folder / 'jobs.db'}")
    store = JobStore(engine)

    @sa.event.listens_for(engine, "checkout")
    def no_more_pages(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # of what SQLite says as of a full disk: SQLITE_FULL

    accepted = 0

    def fill() -> None:
        nonlocal accepted
        while True:
            store.submit("demo", spec, model)
            accepted += 1

    with pytest.raises(StoreUnavailable) as refused:
        fill()
    assert "full" in str(refused.value.__cause__)
    assert store.counts()["queued"] == accepted
    engine.dispose()


def test_what_is_wrong_with_a_statement_is_not_the_stores_absence(engine):
    kind = sa.exc.ProgrammingError if engine.dialect.name == "postgresql" else sa.exc.OperationalError
    with durable(engine).connect() as connection, pytest.raises(kind):
        connection.exec_driver_sql("SELECT nonsense FROM nowhere")


def test_a_success_whose_commit_was_not_heard_of_may_be_written_again(store, submit, claim_one, lose_answers):
    """The connection breaks after the commit: the second write finds the fence over, and nothing is doubled."""
    job = submit(webhook="https://example.test/hook")
    lease = claim_one()
    lose_answers()
    with pytest.raises(StoreUnavailable):
        store.succeed(lease, JobResult(()))
    with pytest.raises(LeaseLost):
        store.succeed(lease, JobResult(()))
    assert store.get(job.id).state == "succeeded"
    assert store.usage.between("demo", 0, 1e10)[0].jobs == 1
    assert [event.kind for event in store.events(job.id)] == ["queued", "started", "succeeded"]


@pytest.mark.parametrize("done", [True, False], ids=["done", "undone"])
def test_a_submission_whose_commit_was_not_heard_of_is_one_job(store, submit, lose_answers, done):
    quota = Quota(images_per_day=4)
    lose_answers(done=done)
    job = submit(quota=quota)
    assert store.page("demo").jobs == (job,)
    assert [event.kind for event in store.events(job.id)] == ["queued"]
    assert store.spent.left("demo", quota)[0].left == 2


@pytest.mark.parametrize("quota", [Quota(queued_jobs=1), Quota(images_per_day=2)], ids=["queue", "day"])
def test_it_is_not_refused_for_what_it_took_itself(store, submit, lose_answers, quota):
    lose_answers()
    job = submit(quota=quota)
    assert store.page("demo").jobs == (job,)


def test_its_idempotency_key_names_it(store, submit, lose_answers):
    reservation = store.idempotency.reserve("demo", "k", "body")
    lose_answers()
    job = submit(reservation=reservation)
    assert store.idempotency.reserve("demo", "k", "body") == job.id


def test_where_it_cannot_be_looked_for_its_id_is_told(store, submit, lose_answers, monkeypatch):
    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    lose_answers()
    with monkeypatch.context() as patch:
        patch.setattr(store, "get", away)
        with pytest.raises(StoreUnavailable) as refused:
            submit()
    assert store.get(refused.value.job).state == "queued"


def test_of_a_submission_that_was_not_sent_no_id_is_told(submit, engine, monkeypatch):
    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(store_module, "record", away)
    with pytest.raises(StoreUnavailable) as refused:
        submit()
    assert refused.value.job is None


@pytest.mark.parametrize("done", [True, False], ids=["done", "undone"])
def test_a_reservation_whose_commit_was_not_heard_of_does_not_stand_in_its_own_way(store, submit, lose_answers, done):
    lose_answers(done=done)
    job = submit(reservation=store.idempotency.reserve("demo", "k", "body"))
    assert store.idempotency.reserve("demo", "k", "body") == job.id


def test_writers_ride_out_a_restart(server, postgres_store, spec, model):
    """Jobs are submitted by a loop that repeats what was refused, while the server goes down and comes back."""
    done = threading.Event()
    accepted: list[str] = []

    def submit() -> None:
        while not done.is_set():
            try:
                accepted.append(postgres_store.submit("rider", spec, model).id)
            except StoreUnavailable:
                continue

    threads = [threading.Thread(target=submit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for crash in (False, True):
        before = len(accepted)
        server.stop(crash=crash)
        server.start()
        while len(accepted) <= before:
            done.wait(0.005)
    done.set()
    for thread in threads:
        thread.join()
    found, after = set(), None
    while True:
        page = postgres_store.page("rider", after=after, limit=500)
        found |= {job.id for job in page.jobs}
        after = page.after
        if after is None:
            break
    assert set(accepted) <= found
