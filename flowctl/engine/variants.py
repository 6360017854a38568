"""Which variant of a message a contact gets: drawn once, in equal shares, and remembered with the outbox row.

The message as written is one arm, called `default`; each of its `variants` is another. A channel of which no variant
says anything is no experiment: nothing is drawn there, and its rows bear no variant.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from flowctl.language.arm import DEFAULT_ARM

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from flowctl.engine.runtime import Runtime

_CREATE = (
    "CREATE TEMP TABLE IF NOT EXISTS gate_arm (message INTEGER NOT NULL, channel INTEGER NOT NULL, nth INTEGER NOT NULL, "
    "name TEXT NOT NULL, n INTEGER NOT NULL, multiplier INTEGER NOT NULL, increment INTEGER NOT NULL, PRIMARY KEY (message, channel, nth)) WITHOUT ROWID"
)
# Its own if it was claimed before; else what the contact got of this message earlier, so that a release with one more
# variant moves nobody; else the hash. A variant that the newest release does not know any more is drawn anew.
_DRAW = """\
UPDATE outbox AS o SET variant = coalesce(
  (SELECT a.name FROM gate_arm a WHERE a.message = o.message AND a.channel = o.channel AND a.name = o.variant),
  (SELECT p.variant FROM outbox p WHERE p.contact_id = o.contact_id AND p.counted_at IS NOT NULL AND p.message = o.message AND p.id != o.id
    AND p.variant IN (SELECT a.name FROM gate_arm a WHERE a.message = o.message AND a.channel = o.channel)
    ORDER BY p.counted_at DESC, p.id DESC LIMIT 1),
  (SELECT a.name FROM gate_arm a WHERE a.message = o.message AND a.channel = o.channel AND a.nth =
    ((SELECT c._seed FROM contacts c WHERE c.id = o.contact_id) * a.multiplier + a.increment) % 2147483647 % a.n))
WHERE o.id IN (SELECT g.id FROM gate g WHERE g.verdict IS NULL AND g.message IN (SELECT a.message FROM gate_arm a)) AND o.state = 1"""


def experiment(snapshot: Mapping[str, Any], channel_ids: Mapping[str, int]) -> dict[str, Any] | None:
    """What a release keeps of a message's variants to draw them by: `{"arms": [[channel, [names]]], "hash": [a, b]}`.

    The hash is `(seed * a + b) mod (2^31 - 1) mod arms` of the contact's own random seed; its numbers come from the
    message's name under a salt of their own, so that no split and no other message parts people in the same way.
    """
    arms = [
        [channel_ids[channel], [DEFAULT_ARM, *(name for name, said in snapshot["variants"].items() if channel in said)]]
        for channel in snapshot["order"]
        if any(channel in said for said in snapshot["variants"].values())
    ]
    if not arms:
        return None
    digest = hashlib.sha256(f"variants:{snapshot['name']}".encode()).digest()
    multiplier = int.from_bytes(digest[:4], "big") % 2147483646 + 1
    return {"arms": arms, "hash": [multiplier, int.from_bytes(digest[4:8], "big") % 2147483647]}


def load_arms(connection: sqlite3.Connection, runtime: Runtime) -> bool:
    """Fill `gate_arm` from the newest release; returns whether there is anything to draw. A test's `arms` leave one arm."""
    rows: list[tuple[Any, ...]] = []
    forced = runtime.experiment.arms if runtime.experiment else {}
    for name, message in runtime.said["messages"].items():
        said = message.get("experiment")
        for channel, arms in said["arms"] if said else ():
            names = [forced[name]] if forced.get(name) in arms else arms
            rows += [(message["id"], channel, nth, arm, len(names), *said["hash"]) for nth, arm in enumerate(names)]
    if not rows:
        return False
    connection.execute(_CREATE)
    connection.execute("DELETE FROM gate_arm")
    connection.executemany("INSERT INTO gate_arm VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    return True


def draw(connection: sqlite3.Connection) -> None:
    """Give the rows that the gate has just claimed their variants."""
    connection.execute(_DRAW)
