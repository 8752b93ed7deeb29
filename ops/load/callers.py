"""The kinds of caller. Only the generator imports this: locust patches its process."""

from __future__ import annotations

import base64
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import gevent
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS

from ops.load.caller import LONGEST_PAUSE_S, MISSED, Caller
from ops.load.plan import Fault
from ops.load.scene import Answer, Ended
from serve.client.sse import Message, Parser

PNG = b"\x89PNG\r\n\x1a\n"
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
RECONNECTS = 20
"""Streams in a row that may bring nothing before a follower asks for the job instead."""


class Sync(Caller):
    """Waits for the images in one call."""

    def ask(self) -> None:
        """Post, wait, and look at what came."""
        answer = self.post("/v1/images")
        if not answer.ok:
            raise Ended("dropped" if answer.what == MISSED else "failed", answer.what)
        made = [base64.b64decode(image["b64"]) for image in answer.json.get("images", ())]
        _check(made, self.request.shape.n)


class _Submitter(Caller):
    """Submits a job, and comes back for what it made."""

    abstract = True

    def ask(self) -> None:
        """Submit, perhaps change one's mind, wait for the end, and fetch the images."""
        answer = self.post("/v1/jobs")
        if self.job is None:
            raise Ended("failed", answer.what)
        cancel = None
        if self.request.cancel_after_s is not None:
            cancel = gevent.spawn_later(self.request.cancel_after_s, self._cancel)
        try:
            job = self.wait()
        finally:
            if cancel is not None:
                cancel.kill()
        if job["state"] == "cancelled":
            raise Ended("cancelled")
        if job["state"] == "failed":
            kind = str((job.get("error") or {}).get("type", "")).rsplit("/", 1)[-1]
            raise Ended("dropped" if kind == "deadline-missed" else "failed", kind)
        made = []
        for k in range(self.request.shape.n):
            answer = self.send("GET", f"/v1/jobs/{self.job}/images/{k}", "/v1/jobs/{id}/images/{k}")
            if not answer.ok:
                raise Ended("failed", answer.what)
            made.append(answer.body)
        _check(made, self.request.shape.n)

    @abstractmethod
    def wait(self) -> Mapping[str, Any]:
        """The job as it has ended."""

    def look(self) -> Mapping[str, Any]:
        """The job as it is.

        Raises:
            Ended: It can't be had.
        """
        answer = self.send("GET", f"/v1/jobs/{self.job}", "/v1/jobs/{id}")
        if not answer.ok:
            raise Ended("failed", answer.what)
        return answer.json

    def poll(self) -> Mapping[str, Any]:
        """Ask again and again until it has ended."""
        while (job := self.look())["state"] not in TERMINAL:
            gevent.sleep(self.scene.plan.poll_s)
        return job

    def _cancel(self) -> None:
        self.send("DELETE", f"/v1/jobs/{self.job}", "/v1/jobs/{id}")


class Poll(_Submitter):
    """Asks again and again."""

    def wait(self) -> Mapping[str, Any]:
        """The job as it has ended."""
        return self.poll()


class Follow(_Submitter):
    """Follows the job's events, and takes them up again where they break off."""

    def wait(self) -> Mapping[str, Any]:
        """The job as its last event has it."""
        parser, told, idle = Parser(), 0, 0
        drops = self.request.hangs_up
        while idle < RECONNECTS:
            before = parser.last_id
            for message in self._stream(parser):
                if parser.last_id != before:
                    number = int(parser.last_id)
                    self.disorder += number <= told
                    told, before, idle = max(told, number), parser.last_id, 0
                if message.event in TERMINAL:
                    found: Mapping[str, Any] = json.loads(message.data)["job"]
                    return found
                if drops and told:
                    drops = False
                    break
            idle += 1
            self.resumed += 1
            parser = Parser(parser.last_id, parser.retry_ms)
            gevent.sleep(0.05 if self.resumed == 1 else min(0.1 * 2**idle, LONGEST_PAUSE_S))
        return self.poll()

    def _stream(self, parser: Parser) -> Iterator[Message]:
        """The events of one connection; none where there is none to be had."""
        headers = {**self._known(), "Accept": "text/event-stream"}
        if parser.last_id:
            headers["Last-Event-ID"] = parser.last_id
        call = "GET /v1/jobs/{id}/events"
        found = self.client.request("GET", f"/v1/jobs/{self.job}/events", name=call, headers=headers, stream=True)
        raw = found._response
        if found.status_code != 200 or raw is None:
            error = getattr(found, "error", None)
            answer = Answer(found.status_code, {}, b"" if raw is None else raw.read(), type(error).__name__)
            self._note(answer, call)
            if answer.status == 429:
                self.refused_calls.append(call)
            return
        try:
            while line := raw.readline(b"\n"):
                yield from parser.push(line)
        except FAILURE_EXCEPTIONS as error:
            self.faults.append(Fault(self.scene.now(), call, type(error).__name__))
        finally:
            raw.release()


CALLERS: Mapping[str, type[Caller]] = {"sync": Sync, "poll": Poll, "follow": Follow}


def _check(made: list[bytes], n: int) -> None:
    if len(made) != n or not all(picture.startswith(PNG) for picture in made):
        raise Ended("failed", f"{len(made)} of {n} images, or no PNG")
