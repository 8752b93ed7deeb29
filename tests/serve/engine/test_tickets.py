from __future__ import annotations

import logging

import pytest

from serve.engine.tickets import Tickets
from tests.serve.engine.conftest import picture


@pytest.fixture
def tickets():
    return Tickets()


@pytest.fixture
def ticket(tickets, heard):
    image = picture(name="a", steps=4)
    tickets.add(image, heard)
    return tickets["a"]


def test_an_accepted_image_is_held_until_it_ends(tickets, ticket):
    assert "a" in tickets
    assert list(tickets) == [ticket]
    tickets.finish(ticket, "picture")
    assert "a" not in tickets
    assert not tickets


def test_a_listener_hears_what_happens_in_order(tickets, ticket, heard):
    tickets.start(ticket)
    tickets.step(ticket, 1)
    tickets.finish(ticket, "picture")
    assert heard.of["a"] == [("started",), ("stepped", 1, 4), ("finished", "picture")]


@pytest.mark.parametrize("end", ["finish", "fail", "cancel"])
def test_nothing_follows_the_end(tickets, ticket, heard, end):
    about = {"finish": ("picture",), "fail": (ValueError(),), "cancel": ()}
    getattr(tickets, end)(ticket, *about[end])
    for again in about:
        getattr(tickets, again)(ticket, *about[again])
    tickets.start(ticket)
    tickets.step(ticket, 1)
    assert len(heard.order) == 1
    assert tickets.finished + tickets.failed + tickets.cancelled == 1


def test_an_id_that_comes_back_is_another_image(tickets, ticket, heard):
    tickets.cancel(ticket)
    tickets.add(ticket.image, heard)
    tickets.finish(ticket, "picture of the first")
    assert heard.order == [("a", "cancelled")]
    assert "a" in tickets


def test_what_a_listener_raises_is_logged_and_forgotten(tickets, caplog):
    class Deaf:
        def started(self, image):
            raise RuntimeError("gone")

    tickets.add(picture(name="a"), Deaf())
    with caplog.at_level(logging.ERROR):
        tickets.start(tickets["a"])
    assert "the listener of image a raised in started" in caplog.text
    assert "a" in tickets
