"""What messages cost, and how many segments an SMS took: noted when a message left or may have."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from flowctl.channels.channel import Letter, Receipt

_BILLED = frozenset({"sent", "in_doubt"})
# A message that is sent once more is paid for once more.
_NOTE = (
    "INSERT INTO message_costs (outbox_id, contact_id, segments, micros, currency) VALUES (?, ?, ?, ?, ?) ON CONFLICT (outbox_id) DO UPDATE SET "
    "segments = segments + excluded.segments, micros = coalesce(micros, 0) + excluded.micros, currency = excluded.currency"
)


class Costs:
    """Knows what each channel of a release costs: `cost:` of a channel, by country of the number."""

    def __init__(self, connection: sqlite3.Connection, channels: Mapping[str, Mapping[str, Any]]) -> None:
        self._connection = connection
        self._said: dict[str, dict[str, str]] = {
            name: said["cost"] for name, said in channels.items() if said.get("cost")
        }

    def counted(self, channel: str) -> bool:
        """Whether anything is noted of a channel's messages."""
        return channel in self._said or channel == "sms"

    def note(self, outbox_id: int, contact_id: int, letter: Letter, receipt: Receipt) -> None:
        """Note one attempt, inside the transaction that settles it; free channels and what did not leave cost nothing."""
        said = self._said.get(letter.channel)
        if receipt.outcome not in _BILLED or not self.counted(letter.channel):
            return
        parts = segments_of(letter)
        amount = None
        if said is not None:
            # Where all countries cost the same, none is looked up.
            amount = (
                said.get("default")
                if len(said) == 1 and "default" in said
                else said.get(_country(letter.recipient), said.get("default"))
            )
        if amount is None:
            self._connection.execute(_NOTE, (outbox_id, contact_id, parts, None, None))
            return
        micros, currency = _money(amount)
        self._connection.execute(_NOTE, (outbox_id, contact_id, parts, micros * parts, currency))


def segments_of(letter: Letter) -> int:
    """The segments of an SMS; anything else is one message."""
    if letter.channel != "sms" or not isinstance(letter.payload, dict):
        return 1
    from flowctl.language.sms import segments  # noqa: PLC0415 - only where SMS are sent

    return segments(str(letter.payload.get("text") or "")).parts


@lru_cache(maxsize=100)
def _money(amount: str) -> tuple[int, str]:
    from flowctl.language.money import money  # noqa: PLC0415 - brings pydantic, which free channels do without

    return money(amount)


@lru_cache(maxsize=100_000)
def _country(recipient: str) -> str:
    """The country of a number; empty for anything else."""
    if not recipient.startswith("+"):
        return ""
    import phonenumbers  # noqa: PLC0415 - 24 ms, only where costs differ by country

    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(recipient)) or ""
    except phonenumbers.NumberParseException:
        return ""
