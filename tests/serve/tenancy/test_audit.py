from __future__ import annotations

import pytest

from serve.errors import InvalidRequest
from serve.jobs.database import durable
from serve.tenancy.audit import record


@pytest.fixture
def written(engine):
    with durable(engine).begin() as connection:
        for number in range(5):
            record(connection, 10.0 + number, "test", "red", "key.created", {"number": number})
            record(connection, 10.0 + number, "test", "blue", "key.created", {"number": -1})


def numbers(page):
    return [entry.data["number"] for entry in page.entries]


def test_pages_are_the_newest_first_and_of_one_team(audit, written):
    first = audit.page("red", None, 2)
    second = audit.page("red", first.after, 2)
    third = audit.page("red", second.after, 2)
    assert [numbers(page) for page in (first, second, third)] == [[4, 3], [2, 1], [0]]
    assert third.after is None


def test_a_page_that_is_full_at_the_end_has_no_next(audit, written):
    assert audit.page("red", None, 5).after is None


def test_what_comes_later_moves_no_page(audit, written, engine):
    first = audit.page("red", None, 2)
    with durable(engine).begin() as connection:
        record(connection, 99.0, "test", "red", "key.created", {"number": 9})
    assert numbers(audit.page("red", first.after, 2)) == [2, 1]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 19, "9" * 300, "²", "1 ", "0x1"])
def test_a_cursor_that_is_none_is_refused(audit, cursor):
    with pytest.raises(InvalidRequest) as caught:
        audit.page("red", cursor, 2)
    assert caught.value.field == "cursor"
