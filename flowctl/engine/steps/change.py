"""What set, add, tag and untag share: one field of many contacts, with its journal and its change rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from flowctl.engine.work import HERE

if TYPE_CHECKING:
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch

_CREATE = "CREATE TEMP TABLE IF NOT EXISTS changed (contact_id INTEGER PRIMARY KEY, eid INTEGER, old ANY, new ANY, at INTEGER)"
_CONTACT_ROWS = {
    # The newest enrollment of a contact speaks: its row alone is read.
    "last": f"(SELECT *, max(w.eid) FROM work w WHERE {HERE} GROUP BY w.contact_id)",
    # All of them together; `n` is how many.
    "count": "(SELECT contact_id, max(eid) AS eid, max(at) AS at, count(*) AS n, trigger, data, entered_at FROM work w "
    f"WHERE {HERE} GROUP BY contact_id)",
}


def change(
    batch: Batch, version: Version, pc: int, kind: str, field: str, value: str, *, combine: Literal["last", "count"]
) -> None:
    """Give a field of the contacts at a position the value of an SQL expression over `c` and `w`."""
    here = batch.here(version, pc)
    batch.execute(_CREATE)
    batch.execute("DELETE FROM changed")
    batch.execute(
        f'INSERT INTO changed SELECT c.id, w.eid, c."{field}", {value}, w.at '
        f"FROM {_CONTACT_ROWS[combine]} w CROSS JOIN contacts c ON c.id = w.contact_id",
        **here,
    )
    batch.note(
        version, pc, kind, "json_object('field', :field, 'old', x.old, 'new', x.new)",
        source="work w JOIN changed x ON x.contact_id = w.contact_id", field=field,
    )  # fmt: skip
    batch.execute("DELETE FROM changed WHERE old IS new")
    # The column casts as a STRICT table does; what it refuses fails its row alone.
    batch.facts += batch.execute(
        f'UPDATE contacts SET "{field}" = (SELECT x.new FROM changed x WHERE x.contact_id = contacts.id) '
        "WHERE id IN (SELECT contact_id FROM changed)"
    )
    batch.execute(
        "INSERT INTO contact_changes (contact_id, field, old, new, at, enrollment_id) SELECT contact_id, :field, old, new, at, eid FROM changed",
        field=field,
    )
