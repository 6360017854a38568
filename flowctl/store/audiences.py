"""Advertising audiences: who is in, and what platforms are given of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True, slots=True)
class AudienceCount:
    """An audience with its members; `changed_at` is when somebody last came in, UTC milliseconds."""

    name: str
    members: int
    changed_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HashedMember:
    """What leaves of a member: SHA-256 in hex of normalised values, '' where there is none."""

    email: str
    phone: str
    country: str


def audiences(connection: sqlite3.Connection) -> list[AudienceCount]:
    """Every audience somebody is in, by name."""
    rows = connection.execute(
        "SELECT audience, count(*), max(since) FROM audience_members GROUP BY audience ORDER BY audience"
    )
    return [AudienceCount(name=name, members=members, changed_at=at) for name, members, at in rows]


def hashed_members(connection: sqlite3.Connection, audience: str) -> Iterator[HashedMember]:
    """The members with an address, in order of contacts; an address that is suppressed is left out, as is who withdrew consent.

    Raises:
        UsageFailure: nobody is in an audience of this name.
    """
    known = [each.name for each in audiences(connection)]
    if audience not in known:
        near = get_close_matches(audience, known, n=1)
        message = f"nobody is in an audience `{audience}`"
        raise UsageFailure(
            message, help=f"did you mean `{near[0]}`?" if near else "`flowctl audiences list` shows them"
        )
    free = (
        "NOT EXISTS (SELECT 1 FROM suppressions s WHERE s.contact_id = c.id AND s.channel = '{0}') AND NOT EXISTS "
        "(SELECT 1 FROM consents k WHERE k.contact_id = c.id AND k.channel = '{0}' AND k.purpose = 'marketing' AND k.granted = 0)"
    )
    rows = connection.execute(
        f"SELECT CASE WHEN {free.format('email')} THEN c.email END, CASE WHEN {free.format('sms')} THEN c.phone END, c.country "
        "FROM audience_members m JOIN contacts c ON c.id = m.contact_id WHERE m.audience = ? ORDER BY c.id",
        (audience,),
    )
    return (
        HashedMember(email=hashed(normal_email(email)), phone=hashed(phone), country=(country or "").lower())
        for email, phone, country in rows
        if email or phone
    )


def normal_email(email: str | None) -> str | None:
    """As advertising platforms compare addresses: trimmed, in lower case."""
    return None if email is None else email.strip().lower()


def hashed(value: str | None) -> str:
    """SHA-256 in hex; '' of nothing. A phone number is kept as E.164, which is what is hashed."""
    return hashlib.sha256(value.encode()).hexdigest() if value else ""
