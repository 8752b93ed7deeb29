"""What a team calls a control map that was made here: `map_` and the SHA-256 of its PNG.

A name of content needs no table of its own: the map is there while a job that made or used it is kept, and a team finds
only what lies among its own artifacts.
"""

from __future__ import annotations

import re

from serve.jobs.artifacts import digest_of, key_of

PREFIX = "map_"
_ID = re.compile(rf"{PREFIX}[0-9a-f]{{64}}")


def map_id(key: str) -> str:
    """The id of the map whose artifact is `key`."""
    return f"{PREFIX}{digest_of(key)}"


def map_key(text: str, tenant: str) -> str | None:
    """The artifact of `tenant` that an id means; none where `text` is no id."""
    return key_of(tenant, text.removeprefix(PREFIX), ".png") if _ID.fullmatch(text) else None
