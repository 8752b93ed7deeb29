"""Each kind of breach, forged: the checker that accepts one of these would accept it from a campaign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ops.faults.checker import Breach, check
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

PICTURE, MAP = "press/aa/aa11.png", "press/bb/bb22.png"

MADE = JobRecord(
    "job_1", "press", "succeeded", "k1", "sha256:1", 2, 4, 8.0, 2, files=frozenset({PICTURE, MAP}), webhook=True
)
STOPPED = JobRecord("job_2", "press", "cancelled", None, "sha256:1", 1, 4, 4.0, 1)
LATE = JobRecord("job_3", "mill", "failed", "k1", "sha256:1", 1, 4, 4.0, 0, problem="deadline-missed: too late")

EVENTS = (
    EventRecord(1, "job_1", "queued", attempt=0),
    EventRecord(2, "job_1", "started", attempt=1),
    EventRecord(3, "job_2", "queued", attempt=0),
    EventRecord(4, "job_1", "image", index=0),
    EventRecord(5, "job_1", "queued", attempt=1),
    EventRecord(6, "job_2", "started", attempt=1),
    EventRecord(7, "job_1", "started", attempt=2),
    EventRecord(8, "job_1", "annotated"),
    EventRecord(9, "job_1", "image", index=0),
    EventRecord(10, "job_1", "image", index=1),
    EventRecord(11, "job_1", "succeeded"),
    EventRecord(12, "job_2", "cancelled"),
    EventRecord(13, "job_3", "queued", attempt=0),
    EventRecord(14, "job_3", "failed"),
)

SEEN = tuple(SeenEvent(event.id, event.kind) for event in EVENTS if event.job == "job_1")

SOUND = History(
    submissions=(
        Submission(
            "press", "k1", ("job_1",), True, same="seed 1", end="succeeded", pictures=("p", "q"), streams=(SEEN,)
        ),
        Submission("press", None, ("job_2",), True, cancelled=True, end="cancelled"),
        Submission("mill", "k1", ("job_3", "job_3"), True, deadline=True, end="failed"),
    ),
    calls=(
        WebhookCall("press", "msg_1", "job_1", "succeeded", taken=False),
        WebhookCall("press", "msg_1", "job_1", "succeeded"),
    ),
    jobs=(MADE, STOPPED, LATE),
    events=EVENTS,
    usage=(UsageRecord("job_1", "press", 2, 8, 8.0),),
    deliveries=(DeliveryRecord("msg_1", "job_1", "press", "delivered"),),
    files={PICTURE: True, MAP: True},
    swept=True,
    taken={"press": Sums(0, 3, 0, 12.0), "mill": Sums()},
    billed={"press": Sums(1, 2, 8, 8.0), "mill": Sums()},
)


def _job(number: int, **changed: object) -> Callable[[History], History]:
    return lambda sound: replace(
        sound,
        jobs=[replace(job, **changed) if at == number else job for at, job in enumerate(sound.jobs)],  # type: ignore[arg-type]
    )


def _submission(number: int, **changed: object) -> Callable[[History], History]:
    return lambda sound: replace(
        sound,
        submissions=[
            replace(one, **changed) if at == number else one  # type: ignore[arg-type]
            for at, one in enumerate(sound.submissions)
        ],
    )


def _event(event_id: int, **changed: object) -> Callable[[History], History]:
    return lambda sound: replace(
        sound,
        events=[replace(one, **changed) if one.id == event_id else one for one in sound.events],  # type: ignore[arg-type]
        submissions=[replace(one, streams=()) for one in sound.submissions],
    )


def _without_event(event_id: int) -> Callable[[History], History]:
    return lambda sound: replace(
        sound,
        events=[one for one in sound.events if one.id != event_id],
        submissions=[replace(one, streams=()) for one in sound.submissions],
    )


def _more(**more: object) -> Callable[[History], History]:
    return lambda sound: replace(
        sound,
        **{name: (*getattr(sound, name), value) for name, value in more.items()},  # type: ignore[arg-type]
    )


def _instead(**changed: object) -> Callable[[History], History]:
    return lambda sound: replace(sound, **changed)  # type: ignore[arg-type]


GHOST = replace(STOPPED, id="job_4", state="queued")
FORGED: dict[str, tuple[str, Callable[[History], History]]] = {
    "an accepted job without a row": ("lost", _more(submissions=Submission("mill", "k9", ("job_9",), True))),
    "accepted without an id": ("lost", _more(submissions=Submission("mill", "k9", (), True))),
    "a job without an end": ("lost", _job(0, state="running")),
    "a picture that cannot be fetched": ("lost", _submission(0, pictures=("p",))),
    "a webhook that was not called": ("lost", _instead(calls=())),
    "a webhook that nobody took": ("lost", _instead(calls=SOUND.calls[:1])),
    "a webhook that was given up": ("lost", _instead(deliveries=[replace(SOUND.deliveries[0], state="abandoned")])),
    "an end without a delivery": ("lost", _instead(deliveries=(), calls=())),
    "an innocent failure": ("failed", _job(0, state="failed", problem="job-failed: ours")),
    "late without a deadline": ("failed", _submission(2, deadline=False)),
    "a deadline's job that failed otherwise": ("failed", _job(2, problem="job-failed: ours")),
    "cancelled by nobody": ("failed", _submission(1, cancelled=False)),
    "an end that a client saw otherwise": ("failed", _submission(1, end="succeeded", pictures=("p",))),
    "a webhook that tells another end": ("failed", _instead(calls=[replace(SOUND.calls[1], state="failed")])),
    "an attempt that was counted": ("charged", _job(0, failures=1)),
    "a death that was counted": ("charged", _job(0, deaths=1)),
    "two jobs of one key": ("doubled", _more(jobs=replace(GHOST, key="k1"))),
    "two jobs of one submission": ("doubled", _submission(0, jobs=("job_1", "job_2"))),
    "a job that nobody asked for": ("doubled", _more(jobs=GHOST)),
    "two ends": ("events", _more(events=EventRecord(15, "job_1", "succeeded"))),
    "an event after the end": ("events", _more(events=EventRecord(15, "job_1", "started", attempt=3))),
    "another end than the row's": ("events", _event(11, kind="failed")),
    "no end": ("events", _without_event(11)),
    "no beginning": ("events", _without_event(1)),
    "a start that is not told": ("events", _without_event(7)),
    "a start that is told twice": ("events", _event(5, kind="started", attempt=2)),
    "an image twice in an attempt": ("events", _event(10, index=0)),
    "an image that is not told": ("events", _without_event(10)),
    "a map twice in an attempt": ("events", _event(9, kind="annotated", index=None)),
    "an image while the job waits": ("events", _event(6, job="job_1", kind="image", index=1, attempt=None)),
    "events of no job": ("events", _more(events=EventRecord(15, "job_9", "queued", attempt=0))),
    "a stream with a gap": ("events", _submission(0, streams=(SEEN[:3] + SEEN[4:],))),
    "a stream with a repeat": ("events", _submission(0, streams=(SEEN[:3] + SEEN[2:],))),
    "a stream without an end": ("events", _submission(0, streams=(SEEN[:-1],))),
    "two rows of usage": ("doubled", _more(usage=SOUND.usage[0])),
    "no usage": ("accounts", _instead(usage=())),
    "usage of what was not made": ("accounts", _more(usage=UsageRecord("job_2", "press", 1, 4, 4.0))),
    "usage of more than was made": ("accounts", _instead(usage=[replace(SOUND.usage[0], images=3)])),
    "usage of no job": ("accounts", _more(usage=UsageRecord("job_9", "press", 1, 4, 4.0))),
    "a bill that is too high": ("accounts", _instead(billed={"press": Sums(1, 2, 8, 8.1)})),
    "a day that counts what was given back": ("accounts", _instead(taken=SOUND.taken | {"mill": Sums(0, 1, 0, 4.0)})),
    "a day that does not count what was made": ("accounts", _instead(taken={"mill": Sums()})),
    "a picture that is not stored": ("files", _instead(files={MAP: True})),
    "a picture that is damaged": ("files", _instead(files={PICTURE: False, MAP: True})),
    "a file that no row names": ("files", _instead(files=SOUND.files | {"mill/cc/cc33.png": True})),
    "a job told to another team": ("teams", _more(submissions=Submission("mill", "k7", ("job_1",), True))),
    "usage of another team": ("teams", _instead(usage=[replace(SOUND.usage[0], team="mill")])),
    "a delivery of another team": ("teams", _instead(deliveries=[replace(SOUND.deliveries[0], team="mill")])),
    "a webhook at another team's receiver": ("teams", _more(calls=WebhookCall("mill", "msg_1", "job_1", "succeeded"))),
    "a webhook of no job": ("teams", _more(calls=WebhookCall("mill", "msg_9", "job_9", "succeeded"))),
    "another team's file": ("teams", _job(2, files=frozenset({PICTURE}))),
    "two webhooks of one end": ("doubled", _more(calls=WebhookCall("press", "msg_2", "job_1", "succeeded"))),
}


def test_a_sound_history_is_accepted() -> None:
    assert check(SOUND) == []


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_history_is_refused(name: str) -> None:
    rule, forge = FORGED[name]
    found = check(forge(SOUND))
    assert rule in {breach.rule for breach in found}, found


def test_equal_requests_are_to_have_equal_pictures_of_one_model() -> None:
    twin = replace(MADE, id="job_5", key="k5", webhook=False, files=frozenset())
    other = replace(SOUND.submissions[0], key="k5", jobs=("job_5",), pictures=("p", "r"), streams=())

    def pictures(model: str) -> list[Breach]:
        forged = _more(jobs=replace(twin, model=model), submissions=other)(SOUND)
        return [breach for breach in check(forged) if breach.about.startswith("seed 1")]

    assert pictures("sha256:2") == []
    assert [breach.rule for breach in pictures(MADE.model)] == ["doubled"]


def test_jobs_of_a_version_that_was_deleted_may_fail() -> None:
    forged = _job(0, state="failed", failures=1, problem="model-version-unavailable: it was deleted")(SOUND)
    rules = {
        breach.rule for breach in check(replace(forged, deleted=frozenset({MADE.model}))) if breach.about == "job_1"
    }
    assert not rules & {"charged"}
    assert not any(
        breach.what.startswith("model-version") for breach in check(replace(forged, deleted=frozenset({MADE.model})))
    )


def test_an_answer_that_was_lost_excuses_one_job_without_a_key() -> None:
    lost = Submission("press", None)
    ghosts = [replace(STOPPED, id=f"job_{number}", attempt=0) for number in (7, 8)]
    unknown = [
        breach.about
        for breach in check(_instead(submissions=(*SOUND.submissions, lost), jobs=(*SOUND.jobs, *ghosts))(SOUND))
        if breach.what == "no client asked for it"
    ]
    assert unknown == ["job_8"]


def test_what_is_not_swept_yet_may_lie_there() -> None:
    assert check(replace(SOUND, swept=False, files=SOUND.files | {"mill/cc/cc33.png": True})) == []
