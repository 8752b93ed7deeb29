"""All dashboards."""

from __future__ import annotations

from pathlib import Path

from ops.dashboards.engine import ENGINE
from ops.dashboards.fleet import FLEET
from ops.dashboards.quality import QUALITY
from ops.dashboards.service import SERVICE
from ops.dashboards.tenants import TENANTS

BOARDS = (SERVICE, ENGINE, TENANTS, QUALITY, FLEET)
FOLDER = Path(__file__).with_name("json")
