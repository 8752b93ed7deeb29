"""The engine alone: the one that a sampler runs, in a process that does nothing else.

`python -m ops.bench.peers.engine THREADS` answers each line of standard input, a JSON object of `way`, `bodies` and
`file`, with the seconds of each image as JSON; the pictures are in `file`, an npz. Requests are decoded and annotated
before the clock starts: what that costs is the platform's to bear.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
import torch

from ops.bench.bodies import Body
from ops.bench.crowds import Specs
from ops.bench.peers.process import answer
from ops.bench.peers.request import spec_of
from ops.bench.runs import Crowd, engine_of, image_of, model_of, one_at_a_time
from ops.bench.subjects import Subject, demo
from ops.bench.threads import alone
from serve.engine.core import Model
from serve.engine.loop import Engine

Way = Literal["together", "one at a time"]


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a backlog.

    Attributes:
        seconds: Of each image: from the start of all where they were made together, its own otherwise.
        pictures: uint8 [H, W, 3] by image.
    """

    seconds: dict[str, float]
    pictures: dict[str, object]

    @property
    def total(self) -> float:
        """Seconds until the last picture, of those made together."""
        return max(self.seconds.values())


class EngineProcess:
    """The process, from outside.

    Args:
        threads: Of torch.
    """

    def __init__(self, threads: int) -> None:
        self._command = [sys.executable, "-m", "ops.bench.peers.engine", str(threads)]
        self._folder = tempfile.TemporaryDirectory(prefix="cn-engine-")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()  # the end of its input is the end of it
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        """For its processor time."""
        return self._process.pid

    def make(self, way: Way, bodies: Mapping[str, Body]) -> Made:
        """Images, together or one at a time.

        Raises:
            RuntimeError: The process has ended; standard error says why.
        """
        file = Path(self._folder.name) / "pictures.npz"
        seconds = json.loads(answer(self._process, json.dumps({"way": way, "bodies": bodies, "file": str(file)})))
        with np.load(file) as pictures:
            return Made(seconds, dict(pictures.items()))


def main(threads: str) -> None:
    """Answer as often as one is asked."""
    torch.set_num_threads(int(threads))
    subject = alone(demo)
    model = model_of(subject)
    engine: Engine | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        specs = {name: spec_of(body) for name, body in asked["bodies"].items()}
        if asked["way"] == "together":
            if engine is None:
                engine = started(model)
            made = together(engine, specs)
        else:
            if engine is not None:  # its thread's pool must not be beside the one that works now
                engine.stop()
                engine = None
            made = one_by_one(subject, specs)
        np.savez(asked["file"], **made.pictures)  # type: ignore[arg-type]
        print(json.dumps(made.seconds), flush=True)


def started(model: Model) -> Engine:
    """As a sampler has it: it waits for work in a thread that stays."""
    engine = engine_of(model)
    engine.start()
    return engine


def together(engine: Engine, specs: Specs) -> Made:
    """All are submitted at once."""
    crowd = Crowd()
    began = time.perf_counter()
    for name, spec in specs.items():
        engine.submit(image_of(name, spec), crowd)
    crowd.wait(len(specs))
    return Made({name: ended - began for name, ended in crowd.ended_at.items()}, crowd.pictures)


def one_by_one(subject: Subject, specs: Specs) -> Made:
    """Each from its first step to its picture before the next."""
    runs = {name: one_at_a_time(subject, {name: spec}) for name, spec in specs.items()}
    return Made({n: run.seconds for n, run in runs.items()}, {n: run.pictures[n] for n, run in runs.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
