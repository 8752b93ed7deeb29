from __future__ import annotations

import os
import subprocess
import sys
import time

from ops.bench import processor
from ops.bench.efficiency import accounts


def test_work_is_counted_for_who_did_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle:
        roles = {os.getpid(): "worker", idle.pid: "idler"}
        before = processor.seconds(roles)
        began = time.process_time()
        while time.process_time() - began < 0.5:
            pass
        spent = processor.spent(before, processor.seconds(roles))
        idle.communicate(b"\n")
    assert spent["worker"] >= 0.4
    assert spent["idler"] < spent["worker"]


def test_a_process_that_is_gone_costs_nothing() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    assert processor.seconds({gone.pid: "gone"}) == {"gone": 0.0}


def test_a_role_is_told_by_the_command_line() -> None:
    command = [sys.executable, "-c", "print(flush=True); input()", "serve.api"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as api:
        assert api.stdout is not None
        api.stdout.readline()  # it runs, so that its command line is there
        found = processor.roles([api.pid, os.getppid()], {"api": "serve.api"}, "other")
        api.communicate(b"\n")
    assert found == {api.pid: "api", os.getppid(): "other"}


def test_accounts_are_ms_an_image_the_most_first() -> None:
    busy = [{"api": 1.0, "sampler": 8.0}, {"api": 3.0, "sampler": 8.0}]
    idle = [{"api": 0.5, "sampler": 0.0}, {"api": 0.5, "sampler": 0.0}]
    assert accounts(busy, idle, images=10).rows == [
        ["sampler", 800.0, 0.0],
        ["api", 200.0, 50.0],
        ["together", 1000.0, 50.0],
    ]
