"""What messages cost: SMS segments and money, by channel and by message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_MICROS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelCost:
    """The messages of one channel that left or may have, with what they cost in one currency ('' where nobody said)."""

    channel: str
    messages: int
    segments: int
    micros: int
    currency: str

    @property
    def amount(self) -> str:
        """`12.40 EUR`; empty where the channel says no `cost:`."""
        return shown(self.micros, self.currency)


def shown(micros: int, currency: str) -> str:
    """An amount in words; small ones to the hundredth of a cent, or they would all be nothing."""
    if not currency:
        return ""
    digits = 2 if micros == 0 or micros >= _MICROS else 4
    return f"{micros / _MICROS:.{digits}f} {currency}"


def by_channel(connection: sqlite3.Connection, *, since: int = 0) -> tuple[ChannelCost, ...]:
    """Of everything settled from an instant (UTC ms) on."""
    rows = connection.execute(
        "SELECT n.name, count(*), sum(k.segments), coalesce(sum(k.micros), 0), coalesce(k.currency, '') FROM message_costs k "
        "JOIN outbox o ON o.id = k.outbox_id JOIN names n ON n.id = o.channel WHERE coalesce(o.settled_at, o.ready_at) >= ? "
        "GROUP BY 1, 5 ORDER BY 1, 5",
        (since,),
    )
    return tuple(
        ChannelCost(channel=row[0], messages=row[1], segments=row[2], micros=row[3], currency=row[4]) for row in rows
    )


def by_message(connection: sqlite3.Connection, version_ids: Iterable[int]) -> dict[tuple[str, str], tuple[int, str]]:
    """(message, channel) → segments and amounts in words, of workflow versions."""
    marks = ", ".join(str(int(version_id)) for version_id in version_ids) or "NULL"
    rows = connection.execute(
        "SELECT m.name, c.name, sum(k.segments), coalesce(sum(k.micros), 0), coalesce(k.currency, '') FROM outbox o "
        "JOIN message_costs k ON k.outbox_id = o.id JOIN names m ON m.id = o.message JOIN names c ON c.id = o.channel "
        f"WHERE o.version_id IN ({marks}) GROUP BY 1, 2, 5 ORDER BY 1, 2, 5"
    )
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for message, channel, segments, micros, currency in rows:
        before, amounts = found.get((message, channel), (0, ""))
        both = " + ".join(part for part in (amounts, shown(micros, currency)) if part)
        found[message, channel] = (before + segments, both)
    return found
