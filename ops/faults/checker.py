"""The one checker of a campaign's history: whether the promises of docs/guarantees.md held.

A history is refused breach by breach, each under the rule that it breaks:

lost       an accepted job without a row, an end, its pictures or a webhook's call
failed     a job that failed though neither its request nor its deadline was at fault
charged    an attempt or a worker's death that was counted, though no job of a campaign is at fault
doubled    what happened twice: jobs of one submission, ends, usage, webhooks, pictures that ought to be equal
events     a gap, a repeat or a wrong order in a job's events, or in a stream of them
accounts   usage, the bill or a day's count that differs from what was made
files      what a row names and the store does not have, or the reverse
teams      a thing of one team under another
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

from ops.faults.history import (
    DeliveryRecord,
    EventRecord,
    History,
    JobRecord,
    SeenEvent,
    Submission,
    Sums,
    UsageRecord,
    WebhookCall,
)
from serve.errors import DeadlineMissed
from serve.jobs.job import TERMINAL

Rule = Literal["lost", "failed", "charged", "doubled", "events", "accounts", "files", "teams"]

OF_A_JOB = TypeVar("OF_A_JOB", EventRecord, UsageRecord, DeliveryRecord, WebhookCall)


@dataclass(frozen=True, slots=True)
class Breach:
    """One thing that should not be.

    Attributes:
        rule: That it breaks.
        about: The job, team or file.
        what: Was found.
    """

    rule: Rule
    about: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.about}: {self.what}"


def check(history: History) -> list[Breach]:
    """All breaches of a history that has settled, by rule and job."""
    indexed = _Indexed(history)
    return sorted((breach for rule in RULES for breach in rule(indexed)), key=lambda one: (one.rule, one.about))


class _Indexed:
    """A history, and its records by job."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.jobs = {job.id: job for job in history.jobs}

    @cached_property
    def events(self) -> dict[str, list[EventRecord]]:
        """In the order of their ids."""
        return _by_job(sorted(self.history.events, key=lambda event: event.id))

    @cached_property
    def usage(self) -> dict[str, list[UsageRecord]]:
        return _by_job(self.history.usage)

    @cached_property
    def deliveries(self) -> dict[str, list[DeliveryRecord]]:
        return _by_job(self.history.deliveries)

    @cached_property
    def calls(self) -> dict[str, list[WebhookCall]]:
        return _by_job(self.history.calls)

    @cached_property
    def submissions(self) -> dict[str, list[Submission]]:
        """By each job that their answers named."""
        found = defaultdict(list)
        for submission in self.history.submissions:
            for job in set(submission.jobs):
                found[job].append(submission)
        return dict(found)


def _by_job(records: Sequence[OF_A_JOB]) -> dict[str, list[OF_A_JOB]]:
    found: defaultdict[str, list[OF_A_JOB]] = defaultdict(list)
    for record in records:
        found[record.job].append(record)
    return dict(found)


def _accepted_jobs_end(of: _Indexed) -> Iterator[Breach]:
    for submission in of.history.submissions:
        if submission.accepted and not submission.jobs:
            yield Breach("lost", str(submission.key), "accepted without an id")
        for job_id in submission.jobs if submission.accepted else ():
            if job_id not in of.jobs:
                yield Breach("lost", job_id, "accepted, and there is no row")
    for job in of.history.jobs:
        if job.state not in TERMINAL:
            yield Breach("lost", job.id, f"no end: {job.state}")


def _ends_are_allowed(of: _Indexed) -> Iterator[Breach]:
    for job in of.history.jobs:
        asked = of.submissions.get(job.id, ())
        known = bool(asked) or of.history.complete
        if job.state == "cancelled" and known and not any(submission.cancelled for submission in asked):
            yield Breach("failed", job.id, "cancelled, and nobody asked for that")
        if job.state == "failed":
            late = job.problem.startswith(DeadlineMissed.type)
            late = late and (not known or any(submission.deadline for submission in asked))
            if not late and job.model not in of.history.deleted:
                yield Breach("failed", job.id, job.problem)
        for submission in asked:
            if submission.end in TERMINAL and submission.end != job.state:
                yield Breach("failed", job.id, f"a client saw the end {submission.end}, the row is {job.state}")


def _no_attempt_is_charged(of: _Indexed) -> Iterator[Breach]:
    for job in of.history.jobs:
        if job.model not in of.history.deleted and (job.failures or job.deaths):
            yield Breach("charged", job.id, f"{job.failures} attempts and {job.deaths} deaths are counted")


def _submissions_are_one_job(of: _Indexed) -> Iterator[Breach]:
    for submission in of.history.submissions:
        if len(set(submission.jobs)) > 1:
            yield Breach("doubled", str(submission.key), f"answers name {sorted(set(submission.jobs))}")
    keyed = Counter((job.team, job.key) for job in of.history.jobs if job.key is not None)
    for (team, key), count in keyed.items():
        if count > 1:
            yield Breach("doubled", f"{team}/{key}", f"{count} jobs of one Idempotency-Key")
    if of.history.complete:
        yield from _unknown_jobs(of)


def _unknown_jobs(of: _Indexed) -> Iterator[Breach]:
    """Jobs that no client was told of: only where an answer was lost, and of a submission without a key one each."""
    keys = {(submission.team, submission.key) for submission in of.history.submissions if submission.key is not None}
    unanswered = Counter(
        submission.team for submission in of.history.submissions if submission.key is None and not submission.jobs
    )
    for job in of.history.jobs:
        if job.id in of.submissions or (job.team, job.key) in keys:
            continue
        if job.key is None and unanswered[job.team]:
            unanswered[job.team] -= 1
            continue
        yield Breach("doubled", job.id, "no client asked for it")


def _events_are_in_order(of: _Indexed) -> Iterator[Breach]:
    for job_id in of.events.keys() - of.jobs.keys():
        yield Breach("events", job_id, "events without a job")
    for job in of.history.jobs:
        yield from (Breach("events", job.id, what) for what in _disorder(job, of.events.get(job.id, [])))


def _disorder(job: JobRecord, events: Sequence[EventRecord]) -> Iterator[str]:
    """What is wrong with a job's events: queued, then attempts that each begin and are given back, then the end."""
    kinds = [event.kind for event in events]
    ends = [kind for kind in kinds if kind in TERMINAL]
    if len(ends) != (job.state in TERMINAL) or (ends and (kinds[-1] != ends[0] or ends[0] != job.state)):
        yield f"ends {ends} of a job that is {job.state}, after {len(kinds)} events"
    if kinds[:1] != ["queued"]:
        yield f"begins with {kinds[:1]}"
    attempt, running = 0, False
    images: Counter[int] = Counter()
    of_attempt: Counter[str] = Counter()
    for event in events:
        if event.kind == "started":
            attempt += 1
            of_attempt.clear()
            if running or event.attempt != attempt:
                yield f"start {attempt} says {event.attempt}, {'while' if running else 'and not'} running"
            running = True
        elif event.kind in ("annotated", "image"):
            what = event.kind if event.index is None else f"image {event.index}"
            of_attempt[what] += 1
            if not running or of_attempt[what] > 1:
                yield f"{what}, {of_attempt[what]} times in attempt {attempt}, {'running' if running else 'at rest'}"
            if event.index is not None:
                images[event.index] += 1
        else:
            running = False
    if attempt != job.attempt:
        yield f"{attempt} starts, and the row says {job.attempt}"
    if job.state == "succeeded" and set(images) != set(range(job.images)):
        yield f"images {sorted(images)} of {job.images}"


def _streams_have_no_gap(of: _Indexed) -> Iterator[Breach]:
    for job, submissions in of.submissions.items():
        durable = [SeenEvent(event.id, event.kind) for event in of.events.get(job, ())]
        for stream in (stream for submission in submissions for stream in submission.streams if stream):
            there = [event for event in durable if event.id <= stream[-1].id]
            if list(stream) != there:
                missed = sorted({event.id for event in there} - {event.id for event in stream})
                yield Breach("events", job, f"a stream told of {len(stream)} of {len(there)} events, not of {missed}")
            elif stream[-1].kind not in TERMINAL:
                yield Breach("events", job, f"a stream ended with {stream[-1].kind}")


def _pictures_are_there_and_equal(of: _Indexed) -> Iterator[Breach]:
    alike = defaultdict(set)
    for job_id, submissions in of.submissions.items():
        job = of.jobs.get(job_id)
        for submission in submissions:
            if job is None or submission.end != "succeeded":
                continue
            if len(submission.pictures) != job.images:
                yield Breach("lost", job_id, f"{len(submission.pictures)} of {job.images} pictures could be fetched")
            elif submission.same is not None:
                alike[submission.same, job.model].add(submission.pictures)
    for (same, model), made in alike.items():
        if len(made) > 1:
            yield Breach("doubled", f"{same}, {model}", f"{len(made)} different pictures")


def _usage_is_what_was_made(of: _Indexed) -> Iterator[Breach]:
    for job in of.history.jobs:
        used = of.usage.get(job.id, [])
        if len(used) != (job.state == "succeeded"):
            rule: Rule = "doubled" if len(used) > 1 else "accounts"
            yield Breach(rule, job.id, f"{len(used)} rows of usage of a job that is {job.state}")
        for row in used:
            if not _equal(_used(row), _made(job)):
                yield Breach("accounts", job.id, f"usage {_used(row)} of a job that made {_made(job)}")
    for job_id in of.usage.keys() - of.jobs.keys():
        yield Breach("accounts", job_id, "usage without a job")


def _sums_are_what_was_made(of: _Indexed) -> Iterator[Breach]:
    for team in {job.team for job in of.history.jobs} | of.history.taken.keys() | of.history.billed.keys():
        jobs = [job for job in of.history.jobs if job.team == team]
        made = _sum([_made(job) for job in jobs if job.state == "succeeded"])
        if team in of.history.billed and not _equal(of.history.billed[team], made):
            yield Breach("accounts", team, f"the bill says {of.history.billed[team]}, made was {made}")
        # What failed gives its share of the day back, as does what was cancelled before it was started.
        kept = [job for job in jobs if job.state != "failed" and (job.state != "cancelled" or job.attempt)]
        wanted = _sum([_made(job) for job in kept])
        taken = of.history.taken.get(team, Sums())
        if (taken.images, round(taken.gflop, 6)) != (wanted.images, round(wanted.gflop, 6)):
            yield Breach("accounts", team, f"its days count {taken}, its jobs took {wanted}")


def _files_are_what_rows_name(of: _Indexed) -> Iterator[Breach]:
    for job in of.history.jobs:
        for file in sorted(job.files):
            if file not in of.history.files:
                yield Breach("files", job.id, f"{file} is not stored")
            elif not of.history.files[file]:
                yield Breach("files", job.id, f"{file} is damaged")
    if of.history.swept:
        for file in sorted(of.history.unnamed):
            yield Breach("files", file, "stored, and no row names it")


def _webhooks_are_told(of: _Indexed) -> Iterator[Breach]:
    for job in of.history.jobs:
        deliveries = of.deliveries.get(job.id, [])
        wanted = int(job.webhook and job.state in TERMINAL)
        if len(deliveries) != wanted:
            rule: Rule = "doubled" if len(deliveries) > wanted else "lost"
            yield Breach(rule, job.id, f"{len(deliveries)} deliveries instead of {wanted}")
            continue
        calls = of.calls.get(job.id, [])
        if wanted and (deliveries[0].state == "abandoned" or not any(call.taken for call in calls)):
            yield Breach("lost", job.id, f"its webhook is {deliveries[0].state} after {len(calls)} calls")
        if len({call.id for call in calls}) > 1 or {call.id for call in calls} - {one.id for one in deliveries}:
            yield Breach("doubled", job.id, f"webhooks of ids {sorted({call.id for call in calls})}")
        for state in {call.state for call in calls} - {job.state}:
            yield Breach("failed", job.id, f"its webhook says {state}, the row is {job.state}")
    for job_id in of.calls.keys() - of.jobs.keys():
        yield Breach("teams", job_id, "a webhook of a job that is not there")


def _teams_are_apart(of: _Indexed) -> Iterator[Breach]:
    for job in of.history.jobs:
        about: Sequence[tuple[str, Iterator[str]]] = (
            ("a client", (one.team for one in of.submissions.get(job.id, ()))),
            ("usage", (one.team for one in of.usage.get(job.id, ()))),
            ("a delivery", (one.team for one in of.deliveries.get(job.id, ()))),
            ("a webhook", (one.team for one in of.calls.get(job.id, ()))),
            ("a file", (file.partition("/")[0] for file in job.files)),
        )
        for what, teams in about:
            for other in sorted({team for team in teams if team != job.team}):
                yield Breach("teams", job.id, f"{what} of {other}, and the job is of {job.team}")


RULES: Sequence[Callable[[_Indexed], Iterator[Breach]]] = (
    _accepted_jobs_end,
    _ends_are_allowed,
    _no_attempt_is_charged,
    _submissions_are_one_job,
    _events_are_in_order,
    _streams_have_no_gap,
    _pictures_are_there_and_equal,
    _usage_is_what_was_made,
    _sums_are_what_was_made,
    _files_are_what_rows_name,
    _webhooks_are_told,
    _teams_are_apart,
)


def _made(job: JobRecord) -> Sums:
    return Sums(1, job.images, job.images * job.steps, job.gflop)


def _used(row: UsageRecord) -> Sums:
    return Sums(1, row.images, row.steps, row.gflop)


def _sum(of: Sequence[Sums]) -> Sums:
    return Sums(
        sum(one.jobs for one in of),
        sum(one.images for one in of),
        sum(one.steps for one in of),
        math.fsum(one.gflop for one in of),
    )


def _equal(a: Sums, b: Sums) -> bool:
    """But for the order in which gigaflops were added."""
    return (a.jobs, a.images, a.steps) == (b.jobs, b.images, b.steps) and math.isclose(a.gflop, b.gflop, rel_tol=1e-9)
