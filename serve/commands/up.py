"""`cnserve up`: what must be so is looked at first; only then is Ray imported, which takes seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from rich.console import Console

from serve.commands.status import live_line
from serve.config import Settings
from serve.deployments.environment import secure_ray
from serve.deployments.ground import ROOM, DataFolder, ray_folder, require_ports, require_room

SAY_EVERY_S = 10.0
"""What is waited for is said so often where no line can stay."""


def up(settings: Settings) -> None:
    """Start the platform, and stop it when interrupted.

    Raises:
        OperatorError: Something must be changed before it can run.
    """
    folder = DataFolder(settings.data_dir)
    if not folder.path.exists():  # it is not made where nothing can be started
        require_ports(settings)
    with folder.hold():
        require_ports(settings)
        require_room(ray_folder(), ROOM, "RAY_TMPDIR")
        secure_ray(settings.data_dir)
        from serve.deployments.platform import Platform

        console = Console(file=sys.stdout)  # of now: while Ray runs, what others print goes elsewhere
        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        with live_line(settings, console) as show:
            Platform(settings, folder, say, partial(show, ""), waits(console, say, show)).run()


def waits(console: Console, say: Callable[[str], None], show: Callable[[str], object]) -> Callable[[str, float], None]:
    """What tells of a wait: the line that stays, or, where there is no terminal, a line every ten seconds.

    Args:
        console: Is one or not.
        say: Prints a line.
        show: Has the line that stays say something.
    """
    said = 0.0

    def tell(what: str, seconds: float) -> None:
        nonlocal said
        line = f"{what}: {seconds:.0f} s"
        if console.is_terminal:
            show(line)
            return
        if seconds < said:  # another wait
            said = 0.0
        if seconds - said >= SAY_EVERY_S:
            said = seconds
            say(line)

    return tell
