"""Coupon codes: pools filled by imports, each code given to one contact, who keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """The codes of one name."""

    name: str
    codes: int
    given: int

    @property
    def left(self) -> int:
        """How many are still to be given."""
        return self.codes - self.given


def spent_hash(secret: str, code: str) -> str:
    """A code given to somebody who was forgotten since, as `coupons_spent` keeps it: HMAC-SHA-256, hex."""
    from hmac import digest  # noqa: PLC0415 - few commands hash

    return digest(bytes.fromhex(secret), b"coupon\0" + code.encode(), "sha256").hex()


def add(connection: sqlite3.Connection, name: str, codes: Iterable[str]) -> int:
    """Add codes to a pool, in one transaction; those it has or had already are passed over. Returns how many are new."""
    with transaction(connection):
        (secret,) = connection.execute("SELECT secret FROM store").fetchone()
        spent = {digest for (digest,) in connection.execute("SELECT hash FROM coupons_spent WHERE name = ?", (name,))}
        before = connection.total_changes
        connection.executemany(
            "INSERT INTO coupons (name, code) VALUES (?, ?) ON CONFLICT (name, code) DO NOTHING",
            ((name, code) for code in codes if not spent or spent_hash(secret, code) not in spent),
        )
        return connection.total_changes - before


def give(connection: sqlite3.Connection, name: str, contacts: Iterable[int], *, now: int) -> None:
    """Give a code of a pool to each contact that has none, oldest code first, as far as they go; in one transaction.

    `now` is UTC ms. A code is spent from then on, whatever becomes of the message it was for: the contact keeps it.
    """
    said = {"name": name, "contacts": json.dumps(sorted(set(contacts))), "now": now}
    wanting = (
        "SELECT value AS contact_id, row_number() OVER (ORDER BY value) AS place FROM json_each(:contacts) "
        "WHERE value NOT IN (SELECT contact_id FROM coupons WHERE name = :name AND contact_id IS NOT NULL)"
    )
    with transaction(connection):
        (wanted,) = connection.execute(f"SELECT count(*) FROM ({wanting})", said).fetchone()
        if not wanted:
            return
        free = "SELECT id, row_number() OVER (ORDER BY id) AS place FROM (SELECT id FROM coupons WHERE name = :name AND contact_id IS NULL ORDER BY id LIMIT :wanted)"
        connection.execute(
            f"UPDATE coupons SET contact_id = x.contact_id, given_at = :now FROM (SELECT f.id, w.contact_id FROM ({free}) f "
            f"JOIN ({wanting}) w ON w.place = f.place) x WHERE coupons.id = x.id",
            {**said, "wanted": wanted},
        )


def of(connection: sqlite3.Connection, contact_id: int) -> dict[str, str]:
    """A contact's codes by name."""
    return dict(connection.execute("SELECT name, code FROM coupons WHERE contact_id = ?", (contact_id,)))


def pools(connection: sqlite3.Connection) -> list[Pool]:
    """Every pool, by name; codes of people who were forgotten are given."""
    rows = connection.execute(
        "SELECT name, sum(codes), sum(given) FROM (SELECT name, count(*) AS codes, count(contact_id) AS given FROM coupons GROUP BY name "
        "UNION ALL SELECT name, count(*), count(*) FROM coupons_spent GROUP BY name) GROUP BY name ORDER BY name"
    )
    return [Pool(name=name, codes=codes, given=given) for name, codes, given in rows]
