from __future__ import annotations

import pytest

from ops.load.accounts import is_excused
from ops.load.deeds import Deed
from ops.load.plan import Fault

DEEDS = [Deed(100.0, 110.0, "kill api"), Deed(300.0, 310.0, "promote")]


@pytest.mark.parametrize(
    ("at", "what", "excused"),
    [
        (105.0, "ConnectionRefusedError", True),
        (105.0, "503 model-not-ready", True),
        (105.0, "500 internal", False),
        (105.0, "504 timed-out", False),
        (99.0, "ConnectionRefusedError", False),
        (200.0, "503 overloaded", False),
        (305.0, "503 model-not-ready", False),  # a promotion is no reason
    ],
)
def test_only_a_kill_excuses_and_only_what_is_not_there(at: float, what: str, excused: bool) -> None:
    assert is_excused(Fault(at, "POST /v1/jobs", what), DEEDS) is excused
