"""The trace's teams on a platform: declared and given keys by its own commands, as an operator would."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import yaml

from ops.faults.rig import Rig
from ops.load.plan import KEYS
from ops.load.trace import Team

QUEUED = 200
"""Jobs of a team that may wait: a bound that a runaway caller meets, and honest load below twice capacity doesn't."""


def declare(rig: Rig, teams: Sequence[Team]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Declare the teams.

    Returns:
        By team, a member's key and an admin's.
    """
    file = rig.folder / "tenants.yaml"
    declared = [{"name": team.name, "weight": team.weight, "limits": {"queued_jobs": QUEUED}} for team in teams]
    file.write_text(yaml.safe_dump({"tenants": declared}))
    rig.cnserve("tenants", "apply", "-f", str(file))

    def keys(role: str) -> Mapping[str, str]:
        return {team.name: rig.cnserve("keys", "create", team.name, "--role", role).strip() for team in teams}

    return keys("member"), keys("admin")


def write_keys(file: Path, keys: Mapping[str, str]) -> None:
    """Put keys where callers find them, all at once."""
    draft = file.with_suffix(".draft")
    with open(draft, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
        opened.write(KEYS.dump_json(keys))
    draft.replace(file)


def rotate(url: str, admin: str, key: str, grace_s: float) -> str:
    """Put a new key in the place of one, over the API; the old one stays good for a while.

    Raises:
        httpx.HTTPError: It could not be done.
    """
    headers = {"Authorization": f"Bearer {admin}"}
    path = f"{url}/v1/keys/{key.split('_')[1]}/rotate"
    answer = httpx.post(path, json={"grace": grace_s}, headers=headers, timeout=30)
    return str(answer.raise_for_status().json()["key"])
