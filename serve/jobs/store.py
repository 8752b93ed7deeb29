"""The job row: what the api writes, what a dispatcher claims, and the only thing the two share.

    queued  -> running                         claim
    queued  -> cancelled                       request_cancel
    running -> succeeded | failed | cancelled  succeed, fail, cancelled
    running -> queued | failed | cancelled     retry, give_back, died, or the lease ran out

A claim is a lease: an owner, a deadline and a fence, a number that grows with every claim. All a worker writes is
`WHERE id AND fence AND state = 'running'`, so that one that was taken for dead and comes back can change nothing. A
lease that ran out is a retry nobody was left to ask for: another's next claim puts the job back in its old place. Spec
and digest never change, so attempts repeat each other.

`attempt` counts starts, and costs nothing. What counts: `failures`, attempts that raised an error of the job's own, of
which there may be `max_attempts`; and `deaths` of workers that ran the job alone (`suspect`), three of which set it
aside. Stops, outages and leases that ran out count nowhere.

Every change of state is one transaction with all that follows from it: its event, and at the end the usage, the
webhook's delivery, the hold on what was made. PostgreSQL takes the same statements as SQLite: `FOR UPDATE SKIP LOCKED`,
which SQLite leaves out because its writers come one at a time. Who is claimed next is `fairness`'s to say, and how that
is asked of the tables `claiming`'s.

Other nouns have modules of their own and hang on the store: `idempotency`, `deliveries`, `usage`, `retention`, `paces`,
`clusters`, `rollouts`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from serve.errors import JobFailed, ServeError
from serve.jobs import claiming, listing, standing
from serve.jobs.census import Census, Waiting, census, waiting
from serve.jobs.changes import Nobody, Observer, told
from serve.jobs.clock import clock_of, until
from serve.jobs.clusters import Clusters
from serve.jobs.cost import FREE, Cost
from serve.jobs.database import StoreUnavailable, durable, repeated, soft, upsert
from serve.jobs.deliveries import Deliveries
from serve.jobs.fairness import Priority
from serve.jobs.idempotency import Idempotency, Reservation, bind
from serve.jobs.job import (
    STATES,
    TERMINAL,
    Event,
    Job,
    JobResult,
    Lease,
    ModelVersion,
    Page,
    ServedModel,
    State,
    StoredImage,
    StoredMap,
    Terminal,
    new_id,
)
from serve.jobs.overview import Overview, overview
from serve.jobs.paces import Paces
from serve.jobs.quotas import UNLIMITED, Quota, Rates, Spent, reserve
from serve.jobs.retention import DEFAULTS, Kept, Retention, hold
from serve.jobs.rollouts import Rollouts
from serve.jobs.schema import events, jobs, locks, serving
from serve.jobs.signals import notify
from serve.jobs.spec import JobSpec
from serve.jobs.standing import Standing
from serve.jobs.transitions import (
    LeaseLost,
    find,
    finish,
    held,
    leased,
    put_back,
    put_back_suspect,
    read,
    record,
    succeed,
    tell_image,
    written,
)
from serve.jobs.usage import Usage

__all__ = [
    "READY",
    "Event",
    "Job",
    "JobResult",
    "JobStore",
    "Lease",
    "LeaseLost",
    "LockLost",
    "ModelVersion",
    "Page",
    "ServedModel",
    "StoredImage",
    "StoredMap",
]

READY = "ready"
"""The lock that a dispatcher holds while samplers are warm: what the api's `/readyz` looks for."""

KEPT_SHARE = 2 / 3
"""Share of its time that a lock has left when its owner writes it again."""

WEEK_S = 7 * 24 * 3600.0

# Built once: putting a statement together costs more than running it.
_SUBMIT = sa.insert(jobs).returning(*jobs.c)
_IDS: sa.BindParameter[str] = sa.bindparam("ids", expanding=True)
_GOING_ON = sa.select(jobs.c.id).where(jobs.c.id.in_(_IDS), jobs.c.state.not_in(TERMINAL))
_UNWANTED = sa.select(jobs.c.id).where(
    jobs.c.state == "running", jobs.c.lease_owner == sa.bindparam("owner"), jobs.c.cancel_requested
)
_SHOW = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("this"), jobs.c.fence == sa.bindparam("held"), jobs.c.state == "running")
    .values(progress=sa.bindparam("shown"))
)


class LockLost(Exception):
    """Someone else may hold the lock now: nothing was written."""

    def __init__(self, lock: str, owner: str) -> None:
        super().__init__(f"{owner} does not hold the lock {lock!r} any more")


class JobStore:
    """Jobs, their events, the serving pointer and named locks, in one database, by one `clock`.

    Methods block for a disk's moment (a writer, for the writers before it): asyncio calls them in a thread. Any of them
    raises `StoreUnavailable` while the database is away, and may then be called again.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds; the database's when absent.
        max_attempts: How often a job submitted here may fail before it is set aside.
        retention_s: How long the result of a job submitted here is kept from its end.
        observer: Hears of the ends and retries that this store committed.
        kept: How long rows are kept by whoever sweeps with this store.
    """

    def __init__(
        self,
        engine: sa.Engine,
        clock: Callable[[], float] | None = None,
        max_attempts: int = 3,
        retention_s: float = WEEK_S,
        observer: Observer | None = None,
        kept: Kept = DEFAULTS,
    ) -> None:
        if max_attempts < 1:
            raise ValueError(f"max_attempts is {max_attempts}, must be at least 1")
        self._reads = engine
        self._writes = durable(engine)
        self._soft = soft(engine)
        self.clock = self._clock = clock = clock or clock_of(engine)
        self._max_attempts = max_attempts
        self._retention_s = retention_s
        self._observer = observer or Nobody()
        self.idempotency = Idempotency(engine, clock)
        self.deliveries = Deliveries(engine, clock)
        self.usage = Usage(engine)
        self.retention = Retention(engine, clock, kept)
        self.paces = Paces(engine, clock)
        self.clusters = Clusters(engine, clock)
        self.rollouts = Rollouts(engine, clock)
        self.rates = Rates(engine, clock)
        self.spent = Spent(engine, clock)

    # What the api does.

    def submit(
        self,
        tenant: str,
        spec: JobSpec,
        model: ModelVersion,
        *,
        mark: int = 0,
        reservation: Reservation | None = None,
        webhook: str | None = None,
        cost: Cost = FREE,
        priority: Priority = "interactive",
        deadline_s: float | None = None,
        quota: Quota = UNLIMITED,
        retention_s: float | None = None,
        trace: str | None = None,
    ) -> Job:
        """Queue a job pinned to `model`; it is durable when this returns.

        Where the answer to its commit is lost, it is looked for by its id, which was made before.

        Args:
            tenant: Whose it is.
            spec: Its pictures are stored.
            model: What is served.
            mark: `retention.mark()` of before its pictures were stored or found.
            reservation: The idempotency key that is to name it.
            webhook: Where its end is told.
            cost: What its team is charged for it.
            priority: Inside its team.
            deadline_s: Seconds from now after which it is not wanted any more.
            quota: What its team may take.
            retention_s: How long its result is kept from its end; the store's own when absent.
            trace: A `traceparent`, of a request that is traced.

        Raises:
            QuotaExceeded: Its team has used that up for now.
            InvalidRequest: It is more than a whole day's.
            ArtifactsSwept: Read the mark, store the pictures and submit again.
            IdempotencyInFlight: Another request took over the key.
            StoreUnavailable: Nothing was queued, unless it names a `job`: that one may have been.
        """
        job_id = new_id("job", self._clock())
        sent = False

        @repeated
        def queue() -> Job:
            nonlocal sent
            with self._writes.begin() as connection:
                now = self._clock()
                reserve(connection, tenant, quota, spec.n, cost, now)
                row = {
                    "id": job_id,
                    "tenant": tenant,
                    "state": "queued",
                    "spec": spec.to_json(),
                    "model_name": model.name,
                    "model_version": model.version,
                    "model_digest": model.digest,
                    "max_attempts": self._max_attempts,
                    "created_at": now,
                    "retention": self._retention_s if retention_s is None else retention_s,
                    "webhook": webhook,
                    "idempotency_key": None if reservation is None else reservation.key,
                    "priority": priority,
                    "deadline": None if deadline_s is None else now + deadline_s,
                    "rows": cost.rows,
                    "gflop": cost.gflop,
                    "trace": trace,
                }
                job = read(connection.execute(_SUBMIT, row).one())
                if reservation is not None:
                    bind(connection, reservation, job.id, now)
                hold(connection, job.id, spec.keys, mark)
                record(connection, job.id, "queued", {"attempt": 0}, now)
                sent = True
            return job

        try:
            return queue()
        except StoreUnavailable:
            if not sent:
                raise
        # Repeated, it waits for a first one that the database has yet to end, and is refused if that was done.
        try:
            return queue()
        except (ServeError, sa.exc.IntegrityError) as error:
            if isinstance(error, StoreUnavailable):
                error.job = job_id
            job = self._known(job_id, error)
            if job is None:
                raise
            return job

    def _known(self, job_id: str, refusal: Exception) -> Job | None:
        """The job, or what may be told of it while the store is away."""
        try:
            return self.get(job_id)
        except StoreUnavailable as error:
            error.job = job_id
            raise error from refusal

    def get(self, job_id: str, tenant: str | None = None) -> Job | None:
        """The job, or None where there is none or it is not `tenant`'s."""
        with self._reads.connect() as connection:
            return find(connection, job_id, tenant)

    def ended(self, job_ids: Collection[str]) -> dict[str, Job | None]:
        """Those of these jobs that have ended, by id; None for one that is gone."""
        with self._reads.connect() as connection:
            over = set(job_ids) - set(connection.scalars(_GOING_ON, {"ids": list(job_ids)}))
            return {job_id: find(connection, job_id, None) for job_id in over}

    def page(self, tenant: str, states: Collection[State] = (), after: str | None = None, limit: int = 50) -> Page:
        """Up to `limit` jobs of `tenant`, the newest first; in `states`, if any are named.

        Args:
            tenant: Whose.
            states: Any of these; all where none is named.
            after: The cursor of the page before.
            limit: At least 1.

        Raises:
            InvalidRequest: The cursor is none.
        """
        with self._reads.connect() as connection:
            return listing.page(connection, tenant, states, after, limit)

    def standing(self, job: Job) -> Standing | None:
        """Where a queued job stands; none where it does not wait (any more)."""
        with self._reads.connect() as connection:
            return standing.standing(connection, job.id, self._clock())

    def outlook(self, tenant: str, priority: Priority, cost: Cost) -> Standing:
        """Where a job would stand that `tenant` submitted now."""
        with self._reads.connect() as connection:
            return standing.outlook(connection, tenant, priority, cost, self._clock())

    def events(self, job_id: str, after: int = 0) -> list[Event]:
        """The job's events with ids above `after`, oldest first."""
        query = sa.select(events).where(events.c.job_id == job_id, events.c.id > after).order_by(events.c.id)
        with self._reads.connect() as connection:
            return [Event(**row) for row in connection.execute(query).mappings()]

    @repeated
    def request_cancel(self, job_id: str, tenant: str) -> Job | None:
        """Cancel a queued job at once; flag a running one for its worker; leave a finished one as it is.

        Returns:
            The job as it is now, or None where there is none or it is not `tenant`'s.
        """
        mine = (jobs.c.id == job_id) & (jobs.c.tenant == tenant)
        with told(self._writes, self._observer) as connection:
            # Under the row's lock: a worker may be putting the job back meanwhile, and must see the flag or be seen.
            state = connection.scalar(sa.select(jobs.c.state).where(mine).with_for_update())
            if state == "queued":
                finish(connection, mine, "cancelled", self._clock())
            elif state == "running":
                connection.execute(sa.update(jobs).where(mine).values(cancel_requested=True))
                notify(connection)
            return find(connection, job_id, tenant)

    def counts(self) -> Mapping[State, int]:
        """How many jobs are in each state."""
        query = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        with self._reads.connect() as connection:
            found: dict[State, int] = dict(connection.execute(query).all())
        return {state: found.get(state, 0) for state in STATES}

    def census(self) -> Census:
        """How all that waits and runs stands now."""
        with self._reads.connect() as connection:
            return census(connection, self._clock())

    def waiting(self) -> Waiting:
        """What waits for samplers, and what for imaging."""
        with self._reads.connect() as connection:
            return waiting(connection)

    def overview(self) -> Overview:
        """How the platform is doing now."""
        with self._reads.connect() as connection:
            return overview(connection, self._clock())

    # What a dispatcher does.

    @repeated
    def claim(self, owner: str, lease_s: float, room: int, images: bool = True, silent: bool = True) -> list[Lease]:
        """Start jobs, in the fair order, while there is room; each is `owner`'s for `lease_s` seconds.

        Args:
            owner: Who works on them.
            lease_s: For how long, unless it renews.
            room: UNet rows. A job without any counts as one, so that this bounds the number of jobs too; the last may
                need more than is left.
            images: Whether there is a sampler; without one, jobs that need none are started, and the others wait in
                their order.
            silent: Whether jobs whose lease ran out are taken over from other owners; after an outage of the database
                their workers may live, and be about to renew.
        """
        if room < 1:
            return []
        with self._reads.connect() as connection:  # most wake-ups bring no work: find that out without the write lock
            if not claiming.work(connection, owner, self._clock(), images):
                return []
        with told(self._writes, self._observer) as connection:
            # The clock is read under the lock, whose wait must not come off the lease.
            return claiming.claim(connection, owner, lease_s, room, self._clock, images, silent)

    @repeated
    def claim_unknown(self, owner: str, lease_s: float, held: Collection[str]) -> list[Lease]:
        """The jobs that run as `owner`'s though it does not hold them, as new leases; after a lost answer or write.

        Args:
            owner: Who works on them.
            lease_s: For how long, unless it renews.
            held: Ids of the jobs that it knows it has.
        """
        with told(self._writes, self._observer) as connection:
            return claiming.claim_unknown(connection, owner, lease_s, held, self._clock)

    def suspects(self, images: bool = True) -> bool:
        """Whether a suspect waits and has rested; a cheap read. Without `images`, one that needs no sampler."""
        with self._reads.connect() as connection:
            return claiming.suspects(connection, self._clock(), images)

    @repeated
    def claim_suspect(self, owner: str, lease_s: float, images: bool = True) -> Lease | None:
        """Start the suspect that has been ready longest, for who runs nothing else meanwhile; none where none is.

        Args:
            owner: Who works on it.
            lease_s: For how long, unless it renews.
            images: Whether there is a sampler.
        """
        with told(self._writes, self._observer) as connection:
            return claiming.claim_suspect(connection, owner, lease_s, self._clock, images)

    @repeated
    def end_late(self) -> None:
        """End jobs whose deadline has passed while they waited; a claim does so too."""
        with self._reads.connect() as connection:
            if not claiming.late(connection, self._clock()):
                return
        with told(self._writes, self._observer) as connection:
            claiming.end_late(connection, self._clock())

    @repeated
    def renew(self, leases: Sequence[Lease], lease_s: float) -> list[Lease]:
        """Keep jobs for another `lease_s` seconds, all together: a dispatcher under load has no time for more.

        Returns:
            The leases that are over.
        """
        if not leases:
            return []
        fences = sa.tuple_(jobs.c.id, jobs.c.fence).in_([(lease.job.id, lease.fence) for lease in leases])
        ours = sa.select(jobs.c.id).where(fences, jobs.c.state == "running").order_by(jobs.c.id)
        with self._soft.begin() as connection:
            # In one order, as `progress` writes: or each could wait for the other.
            kept = set(connection.scalars(ours.with_for_update(key_share=True)))
            extend = sa.update(jobs).where(jobs.c.id.in_(kept))
            connection.execute(extend.values(lease_until=self._clock() + lease_s))
        return [lease for lease in leases if lease.job.id not in kept]

    def cancel_requests(self, owner: str) -> list[str]:
        """Ids of the running jobs of `owner` that someone wants stopped; a read, cheap enough for every signal."""
        with self._reads.connect() as connection:
            return list(connection.scalars(_UNWANTED, {"owner": owner}))

    def progress(self, steps: Iterable[tuple[Lease, Mapping[str, Any]]]) -> None:
        """Show how far jobs are, in one transaction; where a lease is over, nothing is changed."""
        rows = [{"this": lease.job.id, "held": lease.fence, "shown": dict(progress)} for lease, progress in steps]
        self._show(sorted(rows, key=itemgetter("this")))

    @repeated
    def _show(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with self._soft.begin() as connection:
            connection.execute(_SHOW, rows)
            notify(connection)

    @repeated
    def annotated(self, lease: Lease, made: Sequence[StoredMap]) -> None:
        """Record that the job's control maps are stored; they are kept as long as its result will be.

        Again it changes nothing: whoever lost the answer may repeat it.

        Raises:
            ArtifactsSwept: They may be gone again: `retry`.
        """
        data = {"control_maps": [asdict(control_map) for control_map in made]}
        with self._writes.begin() as connection:
            leased(connection, lease)
            hold(connection, lease.job.id, {control_map.key for control_map in made}, lease.mark)
            if not written(connection, lease, "annotated"):
                record(connection, lease.job.id, "annotated", data, self._clock())

    @repeated
    def image_done(self, lease: Lease, index: int, image: StoredImage) -> None:
        """Record that image `index` of the job is stored; it is kept as long as its result will be.

        Again it changes nothing: whoever lost the answer may repeat it.

        Raises:
            ArtifactsSwept: It may be gone again: `retry`.
        """
        with self._writes.begin() as connection:
            leased(connection, lease)
            hold(connection, lease.job.id, {image.key}, lease.mark)
            if index not in {event["index"] for event in written(connection, lease, "image")}:
                tell_image(connection, lease.job.id, index, image, self._clock())

    @repeated
    def succeed(self, lease: Lease, result: JobResult, untold: Collection[int] = ()) -> None:
        """End the job with what it made.

        Args:
            lease: Of the job.
            result: Is stored.
            untold: Those of its images that `image_done` was not called for.

        Raises:
            ArtifactsSwept: What it made may be gone again: `retry`.
        """
        with told(self._writes, self._observer) as connection:
            now = self._clock()
            for index in untold:
                tell_image(connection, lease.job.id, index, result.images[index], now)
            if not succeed(connection, lease, result, now):
                raise LeaseLost(lease)

    def fail(self, lease: Lease, problem: Mapping[str, Any]) -> None:
        """End the job with `ServeError.problem()`; trying again would not help."""
        self._end(lease, "failed", error=dict(problem))

    def cancelled(self, lease: Lease) -> None:
        """End the job as it was asked to."""
        self._end(lease, "cancelled")

    @repeated
    def retry(self, lease: Lease, problem: Mapping[str, Any]) -> State:
        """Give the job back after a failure of its own that another attempt may not meet; it counts.

        Returns:
            `queued`; `failed`, with `problem`, when no attempt is left; `cancelled`, when that was asked meanwhile.
        """
        with told(self._writes, self._observer) as connection:
            return put_back(connection, leased(connection, lease), dict(problem), self._clock())

    @repeated
    def give_back(self, leases: Iterable[Lease], why: str) -> None:
        """Give jobs back that something around them kept from ending; it counts nothing. What is over is left alone.

        Args:
            leases: Of the jobs.
            why: What happened, in a sentence for those who follow them.
        """
        problem = JobFailed(why).problem()
        with told(self._writes, self._observer) as connection:
            for lease in sorted(leases, key=lambda lease: lease.job.id):
                with suppress(LeaseLost):
                    put_back(connection, leased(connection, lease), problem, self._clock(), "stop")

    @repeated
    def died(self, lease: Lease, why: str, *, counts: bool = False, rest_s: float = 0.0) -> State:
        """Give the job back after the death of its worker: it is suspect from now on, and runs alone.

        Args:
            lease: Of the job.
            why: What happened, in a sentence.
            counts: Whether it ran alone, and a trial image then came out well on the same kind of worker.
            rest_s: Seconds before it is started again; at least those of `RESTS_S`.

        Returns:
            `queued`; `failed`, after the third death that counts; `cancelled`, when that was asked meanwhile.
        """
        with told(self._writes, self._observer) as connection:
            return put_back_suspect(connection, leased(connection, lease), counts, rest_s, why, self._clock())

    @repeated
    def _end(self, lease: Lease, state: Terminal, error: Mapping[str, Any] | None = None) -> None:
        with told(self._writes, self._observer) as connection:
            if finish(connection, held(lease), state, self._clock(), error) is None:
                raise LeaseLost(lease)

    # What the reconciler does.

    def serving(self, name: str | None = None) -> ServedModel | None:
        """The version of model `name` that new jobs get; of the model promoted last when no name is given."""
        query = sa.select(serving).order_by(serving.c.since.desc()).limit(1)
        if name is not None:
            query = query.where(serving.c.name == name)
        with self._reads.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else ServedModel(row.name, row.version, row.digest, row.manifest, row.source)

    def set_serving(self, model: ServedModel, lock: tuple[str, str] | None = None) -> None:
        """Let new jobs get `model`; those admitted before keep theirs.

        Args:
            model: That version.
            lock: Its name and owner, who must hold it: looked at in the transaction that writes.

        Raises:
            LockLost: The owner does not hold the lock.
        """
        with self._writes.begin() as connection:
            now = self._clock()
            if lock is not None:
                # Under the row's lock: nobody takes it before this is committed.
                held = sa.select(locks.c.name).where(locks.c.name == lock[0], locks.c.owner == lock[1])
                if connection.scalar(held.where(locks.c.until > now).with_for_update()) is None:
                    raise LockLost(*lock)
            values = {**asdict(model), "since": now}
            connection.execute(
                upsert(connection, serving).values(values).on_conflict_do_update(index_elements=["name"], set_=values)
            )
            notify(connection)

    def take_lock(self, name: str, owner: str, ttl_s: float) -> bool:
        """Take or keep the lock `name` for `ttl_s` seconds from now (0 gives it back); False while it is another's.

        One that is held and young enough is not written again: every commit wakes whoever waits for the store. So it
        lasts for `KEPT_SHARE` of `ttl_s` at least.
        """
        if self._holds(name, owner, ttl_s):
            return True
        with self._soft.begin() as connection:
            now = self._clock()
            values = {"owner": owner, "until": until(now, ttl_s)}
            take = (
                upsert(connection, locks)
                .values(name=name, **values)
                .on_conflict_do_update(
                    index_elements=["name"], set_=values, where=(locks.c.owner == owner) | (locks.c.until <= now)
                )
                .returning(locks.c.owner)
            )
            return connection.scalar(take) is not None

    @repeated
    def keep_lock(self, name: str, owner: str, ttl_s: float) -> bool:
        """Keep the lock `name` for `ttl_s` seconds from now; False where someone else has taken it since.

        Unlike `take_lock` it does not take back a lock that was another's meanwhile: what was read under it may be
        out of date.
        """
        mine = (locks.c.name == name) & (locks.c.owner == owner)
        with self._soft.begin() as connection:
            return connection.execute(sa.update(locks).where(mine).values(until=self._clock() + ttl_s)).rowcount == 1

    def _holds(self, name: str, owner: str, ttl_s: float) -> bool:
        query = sa.select(locks.c.until).where(locks.c.name == name, locks.c.owner == owner)
        with self._reads.connect() as connection:
            end, now = connection.scalar(query), self._clock()
        return end is not None and now + KEPT_SHARE * ttl_s < end <= now + ttl_s

    def locked(self, name: str) -> bool:
        """Whether anyone holds the lock `name` now."""
        query = sa.select(locks.c.owner).where(locks.c.name == name, locks.c.until > self._clock())
        with self._reads.connect() as connection:
            return connection.scalar(query) is not None
