"""`python -m ops.load.generator PLAN OUTCOMES`: locust, in a process of its own.

Locust's users are closed loops: each waits for its answer before it asks again, so that a platform that is late is
asked less, and the worst waits are never measured. A load shape changes their number only once a second. So here a user
is spawned for each arrival at its moment, by locust's own runner; there is no pool that could run dry, and how late
each one was is told with its outcome.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import gevent
from gevent.lock import BoundedSemaphore
from locust.contrib.fasthttp import FastHttpSession
from locust.runners import LocalRunner

from ops.load.caller import Stage
from ops.load.callers import CALLERS
from ops.load.plan import LINE, PLAN, Line, Outcome, Plan
from ops.load.scene import Scene

CANCELLED_WITHIN_S = 20.0


def main(plan_file: Path, outcomes: Path) -> None:
    """Do what a plan says, and write what became of each request."""
    logging.getLogger("locust").setLevel(logging.WARNING)
    plan = PLAN.validate_json(plan_file.read_bytes())
    with outcomes.open("ab", buffering=0) as file:

        def tell(line: Line) -> None:
            file.write(LINE.dump_json(line) + b"\n")

        stage = Stage(user_classes=list(CALLERS.values()), host=plan.url)
        runner = stage.create_local_runner()
        seats = None if plan.window is None else BoundedSemaphore(plan.window)

        def ended(outcome: Outcome) -> None:
            tell(Line(outcome=outcome))
            if seats is not None:
                seats.release()

        stage.scene = scene = Scene(plan, time.monotonic(), ended)
        tell(Line(began=scene.began))
        for request in plan.requests:
            if seats is not None:
                seats.acquire()
                if plan.seconds is not None and scene.now() >= plan.seconds:
                    break
            else:
                gevent.sleep(max(0.0, request.at - scene.now()))
            scene.waiting.append(request)
            runner.spawn_users({CALLERS[request.caller].__name__: 1})
        _drain(runner, scene, plan)


def _drain(runner: LocalRunner, scene: Scene, plan: Plan) -> None:
    """Wait for the callers; send those home who are left, and cancel what they had asked for."""
    runner.user_greenlets.join(timeout=plan.drain_s)
    runner.user_greenlets.kill(timeout=5)
    if not scene.open:
        return

    client = FastHttpSession(plan.url, runner.environment.events.request, None, network_timeout=CANCELLED_WITHIN_S)
    for job, tenant in scene.open.items():
        headers = {"Authorization": f"Bearer {scene.key(tenant)}"}
        client.request("DELETE", f"/v1/jobs/{job}", name="DELETE /v1/jobs/{id}", headers=headers)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
