"""Whom an assumption is about: its `who` as SQL over the simulated store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.conditions import full_sql, unsupported
from flowctl.engine.conditions.scope import Scope
from flowctl.failure import ProblemsFound
from flowctl.language.problem import Problem

if TYPE_CHECKING:
    import sqlite3

    from flowctl.language.conditions import Condition
    from flowctl.project.project import Project


def contacts_sql(connection: sqlite3.Connection, project: Project, who: Condition | None) -> str:
    """A SELECT of contact ids, in order, that takes `:now` (UTC milliseconds).

    Raises:
        ProblemsFound: the engine does not run a condition of `who`.
    """
    if who is None:
        return "SELECT id FROM contacts ORDER BY id"
    scope = _scope(connection, project)
    faults = unsupported(who, scope)
    if faults:
        raise ProblemsFound(
            [
                Problem(code="RUN001", slug="does-not-run-yet", message=message, place=leaf.place)
                for leaf, message in faults
            ]
        )
    return f"SELECT id FROM ({full_sql(who, scope)}) ORDER BY id"


def _scope(connection: sqlite3.Connection, project: Project) -> Scope:
    zone = connection.execute("SELECT id FROM zones WHERE name = ?", (project.settings.timezone,)).fetchone()
    return Scope(
        field_types=project.field_types,
        event_types=dict(connection.execute("SELECT name, id FROM event_types").fetchall()),
        event_properties=project.settings.event_properties,
        segments=dict(connection.execute("SELECT name, id FROM segments WHERE retired_at IS NULL").fetchall()),
        messages=dict(connection.execute("SELECT name, id FROM names WHERE kind = 'message'").fetchall()),
        channels=dict(connection.execute("SELECT name, id FROM names WHERE kind = 'channel'").fetchall()),
        zone=zone[0] if zone else 0,
        zone_name=project.settings.timezone,
    )
