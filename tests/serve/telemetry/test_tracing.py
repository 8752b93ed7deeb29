"""Spans: what is kept, what crosses processes, what is never said."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serve.telemetry import Tracing, carry, trace_id, trace_id_of

KEPT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DROPPED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Told:
    """A process's tracing and what it has told."""

    def __init__(self, ratio: float = 1.0, edge: bool = True) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracing = Tracing("api", None, ratio, edge=edge, exporter=self._exporter)

    def spans(self) -> dict[str, ReadableSpan]:
        self.tracing.close()
        return {span.name: span for span in self._exporter.get_finished_spans()}


def test_without_a_receiver_nothing_is_made() -> None:
    tracing = Tracing("api", None)
    with tracing.span("request", KEPT):
        assert (carry(), trace_id()) == (None, None)
    tracing.past("queue", KEPT, 1.0, 2.0)
    tracing.open("image", KEPT).end()
    tracing.close()


def test_spans_nest() -> None:
    told = Told()
    with told.tracing.span("request"), told.tracing.span("store"):
        pass
    spans = told.spans()
    assert spans["store"].parent is not None
    assert spans["store"].parent.span_id == spans["request"].context.span_id


def test_a_trace_goes_on_in_another_process() -> None:
    api, sampler = Told(), Told(edge=False)
    with api.tracing.span("request"):
        carried = carry()
    sampler.tracing.open("image", carried).end()
    image, request = sampler.spans()["image"], api.spans()["request"]
    assert image.context.trace_id == request.context.trace_id
    assert image.parent is not None
    assert image.parent.span_id == request.context.span_id


def test_a_wait_that_is_over_has_its_own_times() -> None:
    told = Told(edge=False)
    told.tracing.past("queue", KEPT, 10.0, 12.5)
    queue = told.spans()["queue"]
    assert (queue.start_time, queue.end_time) == (10_000_000_000, 12_500_000_000)


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 0), (1.0, 1)])
def test_a_share_of_the_requests_is_kept(ratio: float, kept: int) -> None:
    told = Told(ratio)
    with told.tracing.span("request"):
        pass
    assert len(told.spans()) == kept


def test_a_caller_from_outside_does_not_decide_what_is_kept() -> None:
    told = Told(ratio=0.0)
    with told.tracing.span("request", KEPT):
        pass
    assert told.spans() == {}


@pytest.mark.parametrize(("parent", "kept"), [(KEPT, 1), (DROPPED, 0), (None, 0)])
def test_inside_who_began_decides(parent: str | None, kept: int) -> None:
    told = Told(edge=False)
    told.tracing.open("image", parent).end()
    assert len(told.spans()) == kept


@pytest.mark.parametrize("nonsense", ["", "00", "a prompt", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_parent_that_is_none_begins_a_trace(nonsense: str) -> None:
    told = Told()
    with told.tracing.span("request", nonsense):
        pass
    assert told.spans()["request"].parent is None


def test_an_error_marks_its_span_without_its_words() -> None:
    told = Told()
    with pytest.raises(ValueError, match="prompt"), told.tracing.span("request"):
        raise ValueError("a secret prompt")
    span = told.spans()["request"]
    assert span.status.description == "ValueError"
    assert span.events == ()


def test_only_what_is_kept_has_an_id_to_tell() -> None:
    told = Told(ratio=0.0)
    with told.tracing.span("request"):
        assert trace_id() is None
    told.tracing.close()
    assert [trace_id_of(KEPT), trace_id_of(DROPPED), trace_id_of(None)] == [KEPT.split("-")[1], None, None]
