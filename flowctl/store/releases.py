"""Releases as the store holds them: what the newest one says of events, zone and countries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3


def newest_runtime(connection: sqlite3.Connection) -> dict[str, Any] | None:
    """What a tick loads of the newest release; None where nothing was applied yet."""
    row = connection.execute("SELECT runtime FROM releases ORDER BY id DESC LIMIT 1").fetchone()
    runtime: dict[str, Any] | None = json.loads(row[0]) if row else None
    return runtime
