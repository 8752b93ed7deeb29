"""A caller, as a locust user: one for each arrival. Only the generator imports this: locust patches its process.

Each comes with a connection of its own, as another program on another machine would, makes one request and what belongs
to it, and is gone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import gevent
from gevent import GreenletExit
from locust import FastHttpUser, task
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS
from locust.env import Environment
from locust.exception import StopUser

from ops.load.plan import End, Fault, Outcome
from ops.load.scene import Answer, Ended, Scene
from ops.load.trace import GUIDANCE, Request

LONGEST_PAUSE_S = 2.0
MISSED = "504 deadline-missed"
"""A refusal that comes late: the job could not be started in time. Its request is `dropped`, and no error."""


class Stage(Environment):
    """Locust's environment, with the scene that its users are in."""

    scene: Scene


class Caller(FastHttpUser):
    """Makes one request of the trace."""

    abstract = True
    concurrency = 2  # a cancel goes beside the stream
    connection_timeout = 10.0
    network_timeout = 660.0  # above the time that the API itself waits

    def __init__(self, environment: Stage) -> None:
        self.scene = environment.scene
        self.host = self.scene.plan.url
        super().__init__(environment)

    def on_start(self) -> None:
        """Take the request that is due."""
        self.request: Request = self.scene.waiting.popleft()
        self.faults: list[Fault] = []
        self.refused_calls: list[str] = []
        self.job: str | None = None
        self.made_map, self.resumed, self.disorder = False, 0, 0
        self.tries = 0

    @task
    def call(self) -> None:
        """Make it, say what became of it, and go."""
        sent = self.scene.now()
        end, reason = self._ask()
        if self.job is not None and end != "unfinished":
            self.scene.open.pop(self.job, None)
        self.scene.tell(
            Outcome(
                self.request.number,
                sent,
                self.scene.now(),
                end,
                reason,
                self.job,
                self.made_map,
                self.resumed,
                self.disorder,
                tuple(self.faults),
                tuple(self.refused_calls),
            )
        )
        raise StopUser

    def _ask(self) -> tuple[End, str]:
        try:
            self.ask()
        except Ended as ended:
            return ended.end, ended.reason
        except GreenletExit:
            return "unfinished", ""
        except Exception as error:  # a caller that is broken is an error of the run, not one fewer request
            return "failed", repr(error)
        return "done", ""

    @abstractmethod
    def ask(self) -> None:
        """Have the images.

        Raises:
            Ended: There are none.
        """

    def send(
        self, method: str, path: str, route: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """One call, and again while the platform is away or busy and patience lasts."""
        until, pause = self.scene.now() + self.scene.plan.patience_s, 0.1
        while True:
            answer = self._send(method, path, route, body, headers)
            if not answer.passing or self.scene.now() >= until:
                return answer
            gevent.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _send(
        self, method: str, path: str, route: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> Answer:
        found = self.client.request(
            method, path, name=f"{method} {route}", json=body, headers={**self._known(), **headers}
        )
        try:
            content = found.content or b""
            error = getattr(found, "error", None)
        except FAILURE_EXCEPTIONS as broken:
            content, error = b"", broken
        if error is not None and (not found.status_code or found.status_code < 400):
            answer = Answer(0, {}, b"", type(error).__name__)
        else:
            answer = Answer(
                found.status_code,
                {str(name).lower(): str(value) for name, value in dict(found.headers or {}).items()},
                content,
            )
        self._note(answer, f"{method} {route}")
        return answer

    def _known(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.scene.key(self.request.tenant)}"}

    def _note(self, answer: Answer, call: str) -> None:
        if answer.status == 0 or (answer.status >= 500 and answer.what != MISSED):
            self.faults.append(Fault(self.scene.now(), call, answer.what))

    def post(self, path: str) -> Answer:
        """Send the request for images under its Idempotency-Key; once more where its map has expired meanwhile."""
        answer = self._post(path)
        if answer.status == 422 and self.request.shape.steering == "map" and "map" in str(answer.json.get("detail")):
            self.scene.maps.pop(self._map_key, None)
            answer = self._post(path)
        if answer.status == 429:
            raise Ended("refused", answer.what)
        self._accepted(answer.json.get("job") if path == "/v1/images" else answer.json.get("id"))
        return answer

    def _post(self, path: str) -> Answer:
        request, shape = self.request, self.request.shape
        body: dict[str, Any] = {
            "prompt": request.prompt,
            "seed": request.seed,
            "guidance": GUIDANCE,
            "n": shape.n,
            "steps": shape.steps,
            "width": shape.side,
            "height": shape.side,
        }
        if shape.steering == "canny":
            body["controls"] = [{"type": "canny", "image": self.scene.picture(request.picture)}]
        elif shape.steering == "map":
            body["controls"] = [{"type": "canny", "map": self._map()}]
        if request.deadline_s is not None:
            body["deadline_s"] = request.deadline_s
        self.tries += 1  # a body that is another one needs another key
        return self.send("POST", path, path, body, {"Idempotency-Key": f"{self._name}-{self.tries}"})

    @property
    def _name(self) -> str:
        return f"{self.scene.plan.name}-{self.request.number}"

    @property
    def _map_key(self) -> tuple[str, int, int]:
        return self.request.tenant, self.request.picture, self.request.shape.side

    def _map(self) -> str:
        """The id of a map of the picture, which is made where nobody of the team has."""
        found = self.scene.maps.get(self._map_key)
        if found is not None:
            return found
        side = self.request.shape.side
        body = {"image": self.scene.picture(self.request.picture), "width": side, "height": side}
        key = {"Idempotency-Key": f"{self._name}-map-{self.tries}"}
        answer = self.send("POST", "/v1/controls/canny", "/v1/controls/canny", body, key)
        if not answer.ok:
            raise Ended("refused" if answer.status == 429 else "failed", answer.what)
        self.made_map = True
        return self.scene.maps.setdefault(self._map_key, str(answer.json["id"]))

    def _accepted(self, job: object) -> None:
        if isinstance(job, str) and job:
            self.job = job
            self.scene.open[job] = self.request.tenant
