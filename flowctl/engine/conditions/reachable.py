"""`reachable` leaves: whether a message of a purpose may go to a contact on a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.conditions.literal import identifier, literal
from flowctl.engine.segments import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.language.conditions import ReachableLeaf

_ADDRESS_FIELDS = {"email": "email", "sms": "phone", "whatsapp": "phone"}
# For the others the address is the consent.
_CONSENT_CHANNELS = frozenset(_ADDRESS_FIELDS)


def sql(leaf: ReachableLeaf, frame: Frame, *, negated: bool) -> str:
    """Address known, consent granted where it must be, not suppressed."""
    channel = leaf.reachable.channel
    field = _address_field(channel, frame)
    if field is None:
        return "1" if negated else "0"
    name = literal(channel)
    tests = [f"c.{identifier(field)} IS NOT NULL"]
    if leaf.reachable.purpose == "marketing" and channel in _CONSENT_CHANNELS:
        consent = f"n.contact_id = c.id AND n.channel = {name} AND n.purpose = 'marketing' AND n.granted = 1"
        tests.append(f"EXISTS (SELECT 1 FROM consents n WHERE {consent})")
    # Who unsubscribed from marketing still gets the receipt for what was bought.
    which = f"s.channel = {name}" + ("" if leaf.reachable.purpose == "marketing" else " AND s.reason <> 'unsubscribed'")
    if frame.full:
        tests.append(f"c.id NOT IN (SELECT s.contact_id FROM suppressions s WHERE {which})")
    else:
        # Unless told, SQLite takes the key where `which` asks for a reason, and reads all that are suppressed on the channel.
        mine = "suppressions s INDEXED BY suppressions_contact WHERE s.contact_id = c.id"
        tests.append(f"NOT EXISTS (SELECT 1 FROM {mine} AND {which})")
    text = f"({' AND '.join(tests)})"
    return f"NOT {text}" if negated else text  # each part is known: so is the opposite


def probes(leaf: ReachableLeaf, frame: Frame) -> Iterator[Probe]:
    """The address, the consent, the suppression."""
    channel = leaf.reachable.channel
    field = _address_field(channel, frame)
    names = {f"consent.{channel}", f"suppressed.{channel}", *([field] if field else [])}
    yield Probe(kind="changed", names=tuple(sorted(names)))


def unsupported(leaf: ReachableLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it; None where it does."""
    return None


def _address_field(channel: str, frame: Frame) -> str | None:
    field = _ADDRESS_FIELDS.get(channel, channel)
    return field if field in frame.scope.field_types else None
