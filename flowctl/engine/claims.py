"""Claimed rows of the outbox as delivering sees them, and the bytes of letters kept for a resend."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowctl.channels.channel import Letter


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A claimed outbox row, as much of it as sending needs."""

    id: int
    contact_id: int
    enrollment_id: int
    version_id: int
    pc: int
    channel: str
    channel_id: int
    message: str
    message_id: int
    recipient: str
    marketing: bool
    key: str
    counted_at: int
    attempts: int
    doubts: int
    variant: str | None


OPEN = "state IN (1, 2)"  # as the index outbox_open says it: only so does SQLite see that it serves
CLAIMS = (
    "SELECT o.id, o.contact_id, o.enrollment_id, o.version_id, o.pc, ch.name, o.channel, m.name, o.message, o.recipient, o.marketing, o.key, "
    "o.counted_at, o.attempts, o.doubts, o.variant FROM outbox o JOIN names ch ON ch.id = o.channel JOIN names m ON m.id = o.message "
)


def from_row(row: tuple[Any, ...]) -> Claim:
    """A claim from a row of `CLAIMS`."""
    return Claim(
        id=row[0], contact_id=row[1], enrollment_id=row[2], version_id=row[3], pc=row[4], channel=row[5], channel_id=row[6], message=row[7],
        message_id=row[8], recipient=row[9], marketing=bool(row[10]), key=row[11], counted_at=row[12], attempts=row[13], doubts=row[14],
        variant=row[15],
    )  # fmt: skip


def packed(letter: Letter) -> str:
    """A letter as JSON, to the byte."""
    from base64 import b64encode  # noqa: PLC0415 - transactional messages only

    said = {name: getattr(letter, name) for name in letter.__slots__ if name != "payload"}
    body = letter.payload
    return json.dumps(
        {**said, **({"bytes": b64encode(body).decode()} if isinstance(body, bytes) else {"payload": body})}
    )


def unpacked(text: str) -> Letter:
    """The opposite of `packed`."""
    from base64 import b64decode  # noqa: PLC0415 - transactional messages only

    from flowctl.channels.channel import Letter  # noqa: PLC0415 - likewise

    said: dict[str, Any] = json.loads(text)
    body = said.pop("bytes", None)
    return Letter(**{**said, "payload": b64decode(body)} if body is not None else said)
