"""Whether a platform that was watched grew: each generation of each process, each table, the data folder. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ops.load.census import Process, Sample
from ops.load.deeds import Deed
from ops.load.growth import Growth, Points, growth

HANDLES = 3.0
"""Handles, threads or files that may come without being a leak."""

PER_JOB = ("events", "idempotency", "usage", "deliveries")
"""Tables that keep a row or some for every job that ever was: theirs is the number for each job."""

PER_EXPIRED = "swept"
"""Keeps rows for every job whose results have expired."""

PER_ROTATION = ("keys", "audit")


def generations(samples: Sequence[Sample]) -> Mapping[str, list[tuple[float, Process]]]:
    """What was seen of each process, by a name for it: its role, and which one of that role it is."""
    seen: defaultdict[tuple[int, float], list[tuple[float, Process]]] = defaultdict(list)
    for sample in samples:
        for one in sample.processes:
            seen[one.pid, one.born].append((sample.at, one))
    names: Counter[str] = Counter()
    found = {}
    for history in sorted(seen.values(), key=lambda history: history[0][1].born):
        role = history[-1][1].role  # Ray's workers get their title after they were born
        names[role] += 1
        found[f"{role} {names[role]}"] = history
    return found


def memory(samples: Sequence[Sample], warm_s: float, judged_s: float) -> Iterator[Growth]:
    """PSS of every generation of every process."""
    for name, history in generations(samples).items():
        yield growth(name, "PSS, MiB", [(at, one.pss) for at, one in history], warm_s, judged_s)


def handles(samples: Sequence[Sample], warm_s: float, judged_s: float) -> Iterator[Growth]:
    """Open handles and threads, likewise."""
    for name, history in generations(samples).items():
        yield growth(name, "handles", [(at, one.handles) for at, one in history], warm_s, judged_s, HANDLES)
        yield growth(name, "threads", [(at, one.threads) for at, one in history], warm_s, judged_s, HANDLES)


def stored(
    samples: Sequence[Sample], deeds: Sequence[Deed], warm_s: float, judged_s: float, expiry_s: float
) -> Iterator[Growth]:
    """Files, and rows of each table; those that a table keeps for ever are counted for each job, or key rotation.

    How many files there are goes with how much was asked for in the last minutes; those that nothing holds would stay.

    Args:
        samples: All that were taken.
        deeds: What was done meanwhile.
        warm_s: As in `growth`.
        judged_s: As in `growth`.
        expiry_s: Seconds from a job's coming to the sweep of its results, on average.
    """
    held = [(one.at, one.files / max(1, one.rows["holds"])) for one in samples if "holds" in one.rows]
    if held:
        yield growth("data folder", "files a hold", held, warm_s, judged_s)
    times, jobs = [one.at for one in samples], [one.rows["jobs"] for one in samples]
    turns = [deed.at for deed in deeds if deed.kind == "rotate"]
    for table in samples[0].rows if samples else ():
        points: Points
        if table == "jobs":
            continue  # what the others are counted by: one for each that was accepted, which the books say
        if table in PER_JOB:
            what, points = "rows a job", [(one.at, one.rows[table] / max(1, one.rows["jobs"])) for one in samples]
        elif table == PER_EXPIRED:
            expired = np.interp([at - expiry_s for at in times], times, jobs)
            what = "rows an expired job"
            points = [(one.at, one.rows[table] / max(1.0, n)) for one, n in zip(samples, expired, strict=True)]
        elif table in PER_ROTATION:
            what = "rows, less the rotations"
            points = [(one.at, one.rows[table] - float(sum(at <= one.at for at in turns))) for one in samples]
        else:
            what, points = "rows", [(one.at, one.rows[table]) for one in samples]
        yield growth(table, what, points, warm_s, judged_s, 0.0 if table in (*PER_JOB, PER_EXPIRED) else HANDLES)
