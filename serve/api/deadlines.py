"""Honest refusal: a job that would not be done by its deadline is not accepted."""

from __future__ import annotations

from dataclasses import dataclass

from serve.errors import DeadlineUnreachable, InvalidRequest
from serve.jobs.cost import Cost
from serve.jobs.fairness import Priority
from serve.jobs.store import JobStore


@dataclass(frozen=True, slots=True)
class Order:
    """When a job is wanted.

    Attributes:
        priority: Inside its team.
        deadline_s: Seconds from its acceptance after which it is not wanted any more.
    """

    priority: Priority = "interactive"
    deadline_s: float | None = None


IN_TURN = Order()


def check_deadline(store: JobStore, tenant: str, cost: Cost, priority: Priority, deadline_s: float) -> None:
    """Refuse a job that is predicted to be late. While no sampler has been measured nothing is. Reads from the store.

    Raises:
        DeadlineUnreachable: Too much is before it; says when there will be little enough.
        InvalidRequest: It takes longer than that by itself.
    """
    outlook = store.outlook(tenant, priority, cost)
    if outlook.predicted_s is None or outlook.predicted_s <= deadline_s:
        return
    if outlook.alone_s is not None and outlook.alone_s > deadline_s:
        raise InvalidRequest(
            f"The job takes {outlook.alone_s:.3g} s even if it starts at once: give a later deadline.",
            field="deadline_s",
        )
    raise DeadlineUnreachable(
        f"{outlook.position} jobs are before it: it would be done in {outlook.predicted_s:.3g} s.",
        field="deadline_s",
        retry_after_s=max(1.0, outlook.predicted_s - deadline_s),  # what waits shrinks by a second a second
    )
