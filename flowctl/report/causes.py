"""What lies behind a line of a timeline: the fact that made somebody enter, and why nobody could be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

_TABLES = {
    "event": "SELECT 'event ' || t.name FROM events e JOIN event_types t ON t.id = e.type WHERE e.id = ?",
    "transition": "SELECT CASE t.entered WHEN 1 THEN 'enters ' ELSE 'exits ' END || s.name FROM transitions t JOIN segments s ON s.id = t.segment_id WHERE t.id = ?",
    "change": "SELECT 'field ' || field FROM contact_changes WHERE id = ?",
    "status": "SELECT 'message ' || n.name FROM message_events m JOIN names n ON n.id = m.message WHERE m.id = ?",
    "record": "SELECT 'record ' || kind FROM records WHERE id = ?",
}
_ADDRESSES = {"email": "email", "sms": "phone", "whatsapp": "phone"}
# On these the address is the consent.
_OWN_CONSENT = frozenset({"push", "web_push", "in_app", "on_site"})


def because(connection: sqlite3.Connection, cause: str, trigger: Mapping[str, Any] | None) -> str:
    """The fact named by an enrollment's cause, as a trigger would say it: `event bought`, `enters lapsed`, `by hand`."""
    kind, _, rest = cause.partition(":")
    if kind == "manual":
        return "by hand"
    if kind == "start":
        return f"started by {(trigger or {}).get('workflow') or 'another workflow'}"
    if kind == "date":
        return f"date {rest.partition(':')[0]}"
    if kind not in _TABLES or not rest.isdigit():
        return kind
    row = connection.execute(_TABLES[kind], (int(rest),)).fetchone()
    return row[0] if row else kind


def unreachable(
    connection: sqlite3.Connection, contact_id: int, channels: Iterable[str], *, marketing: bool, at: int
) -> str:
    """Why none of some channels reached a contact at an instant (UTC ms), by consents and suppressions then and addresses now."""
    found = (
        f"{channel}: {_why(connection, contact_id, channel, marketing=marketing, at=at)}"
        for channel in dict.fromkeys(channels)
    )
    return "; ".join(found)


def _why(connection: sqlite3.Connection, contact_id: int, channel: str, *, marketing: bool, at: int) -> str:
    column = _ADDRESSES.get(channel, channel)
    has = connection.execute("SELECT 1 FROM pragma_table_info('contacts') WHERE name = ?", (column,)).fetchone()
    address = (
        connection.execute(f'SELECT "{column}" FROM contacts WHERE id = ?', (contact_id,)).fetchone()[0]
        if has
        else None
    )
    if address is None:
        return f"no {'phone number' if column == 'phone' else 'address'}"
    row = connection.execute(
        "SELECT reason FROM suppressions WHERE contact_id = ? AND channel = ? AND at <= ?", (contact_id, channel, at)
    ).fetchone()
    if row:
        return f"suppressed ({row[0]})"
    if marketing and channel not in _OWN_CONSENT:
        row = connection.execute(
            "SELECT granted, source FROM consent_log WHERE contact_id = ? AND channel = ? AND purpose = 'marketing' AND at <= ? "
            "ORDER BY at DESC, id DESC LIMIT 1",
            (contact_id, channel, at),
        ).fetchone()
        if row is None:
            return "no consent"
        if not row[0]:
            return f"consent withdrawn ({row[1]})"
    return "unreachable then"
