"""Log lines that a machine can read and that hold no secret."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from serve.telemetry import CHATTY, JsonFormatter, bind, configure_logging, request_id

log = logging.getLogger("serve.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the process logs; the loggers are put back afterwards."""
    root, levels = logging.getLogger(), {name: logging.getLogger(name).level for name in CHATTY}
    handlers, level = list(root.handlers), root.level
    written = io.StringIO()
    configure_logging("info", written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, number in levels.items():
        logging.getLogger(name).setLevel(number)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class TestLogs:
    def test_a_line_is_one_json_object(self, stream: io.StringIO) -> None:
        log.info("%s of\n%d", "one", 2)
        (line,) = lines(stream)
        ts = datetime.fromisoformat(line.pop("ts"))
        assert line == {"level": "info", "logger": "serve.test", "message": "one of\n2"}
        assert ts.tzinfo == UTC
        assert abs((datetime.now(UTC) - ts).total_seconds()) < 60

    def test_bound_ids_are_on_every_line_inside(self, stream: io.StringIO) -> None:
        with bind(request_id="r1", tenant="red"), bind(job_id="j1"):
            log.info("inside")
        log.info("outside")
        inside, outside = lines(stream)
        assert (inside["request_id"], inside["tenant"], inside["job_id"]) == ("r1", "red", "j1")
        assert outside.keys() == {"ts", "level", "logger", "message"}

    def test_an_inner_binding_leaves_the_others(self, stream: io.StringIO) -> None:
        with bind(request_id="r1"):
            with bind(request_id="r2", job_id="j1"):
                assert request_id() == "r2"
            assert request_id() == "r1"
        assert request_id() is None

    async def test_tasks_and_threads_do_not_mix_their_ids(self, stream: io.StringIO) -> None:
        async def work(name: str) -> None:
            with bind(request_id=name):
                await asyncio.sleep(0)
                await asyncio.to_thread(log.info, name)

        await asyncio.gather(work("r1"), work("r2"))
        assert {(line["message"], line["request_id"]) for line in lines(stream)} == {("r1", "r1"), ("r2", "r2")}

    def test_known_fields_are_written_with_their_types(self, stream: io.StringIO) -> None:
        log.info("request", extra={"route": "/v1/images", "status": 200, "seconds": 0.25})
        (line,) = lines(stream)
        assert (line["route"], line["status"], line["seconds"]) == ("/v1/images", 200, 0.25)

    @pytest.mark.parametrize("field", ["prompt", "negative_prompt", "key", "authorization", "spec"])
    def test_other_fields_are_not(self, stream: io.StringIO, field: str) -> None:
        log.info("request", extra={field: "a secret"})
        assert "secret" not in stream.getvalue()

    def test_an_exception_stays_on_its_line(self, stream: io.StringIO) -> None:
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            log.exception("failed")
        (line,) = lines(stream)
        assert line["exception"].endswith("RuntimeError: broken")

    def test_a_value_that_json_lacks_does_not_lose_the_line(self, stream: io.StringIO) -> None:
        log.info("request", extra={"model": object})
        assert lines(stream)[0]["model"] == "<class 'object'>"

    def test_below_the_level_nothing_is_written(self, stream: io.StringIO) -> None:
        log.debug("no")
        logging.getLogger("mlflow.store").info("no")
        assert lines(stream) == []

    def test_configured_twice_a_line_is_written_once(self, stream: io.StringIO) -> None:
        second = io.StringIO()
        configure_logging("warning", second)
        log.warning("once")
        assert lines(stream) == []
        assert len(lines(second)) == 1

    def test_other_handlers_stay(self, stream: io.StringIO) -> None:
        other = logging.NullHandler()
        logging.getLogger().addHandler(other)
        configure_logging("info", stream)
        handlers = logging.getLogger().handlers
        assert other in handlers
        assert sum(isinstance(handler.formatter, JsonFormatter) for handler in handlers) == 1
