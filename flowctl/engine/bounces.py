"""Bounces and complaints from a mailbox: which message each is about, what it settles, whom it suppresses."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowctl.engine.mail_reports import Report, Unreadable, read_report
from flowctl.store import statuses, suppressions
from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from flowctl.engine.links import Links
    from flowctl.engine.mail_reports import Finding
    from flowctl.store.statuses import Sending

# A full or blocked mailbox may recover, and its provider holds repeated tries against the sender. Providers stop after 3 to 7
# soft bounces in a row (ActiveCampaign 3, Mailchimp 7); three weekly letters in two weeks is the least that a holiday's full
# mailbox does not reach at once, and daily ones reach it in three days.
SOFT_MAX = 3
SOFT_MS = 14 * 86_400_000
# RFC 5321 §4.5.4.1: servers give up after 4 to 5 days. What has not bounced by then was delivered.
GIVEN_UP_MS = 5 * 86_400_000
# How long before a report without Message-ID its message may have left: the time to give up, and a slow mailbox.
LEFT_BEFORE_MS = 14 * 86_400_000
MAILS_A_TRANSACTION = 200
CHANNEL = "email"
_STATUSES = {
    "hard": statuses.BOUNCED,
    "soft": statuses.BOUNCED,
    "delivered": statuses.DELIVERED,
    "complained": statuses.COMPLAINED,
    "unsubscribed": statuses.UNSUBSCRIBED,
}
_REASONS: dict[str, suppressions.Reason] = {
    "hard": "bounced",
    "complained": "complained",
    "unsubscribed": "unsubscribed",
}
_SOURCE = "bounces import"


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What an import did, in mails or deliveries they tell of.

    hard, soft, complained, unsubscribed, delivered   new, about a message of this store
    address      new, about an address of a contact but no message of it
    known        told before
    unknown      about nobody here
    delayed, reply, other   nothing to learn: still being tried, automatic replies and receipts, anything else
    unreadable   named in `unreadable` with the reason
    """

    mails: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    settled: int = 0  # messages that were in doubt
    suppressed: int = 0  # addresses that were not
    unreadable: list[tuple[str, str]] = field(default_factory=list)


class BounceImport:
    """One run: hand it mails with their names. `links` reads the signed links of letters; None where there are none."""

    def __init__(self, connection: sqlite3.Connection, *, links: Links | None, now: int) -> None:
        self.outcome = Outcome()
        self._connection = connection
        self._links = links
        self._now = now

    def take(self, mails: Iterable[tuple[str, bytes | None]]) -> None:
        """Read mails (None: the file could not be read) and store what they say, some hundreds a transaction."""
        reports: list[Report] = []
        for name, data in mails:
            self.outcome.mails += 1
            try:
                reports.append(read_report(data if data is not None else b""))
            except Unreadable as fault:
                self.outcome.counts["unreadable"] += 1
                self.outcome.unreadable.append((name, str(fault) if data is not None else "the file cannot be read"))
            if len(reports) == MAILS_A_TRANSACTION:
                self._store(reports)
                reports = []
        self._store(reports)

    def _store(self, reports: list[Report]) -> None:
        with transaction(self._connection):
            for report in reports:
                if not report.findings:
                    self.outcome.counts[report.ignored] += 1
                    continue
                self._report(report)

    def _report(self, report: Report) -> None:
        sending = self._by_key(report)
        if sending is not None:
            # A letter has one recipient: where the report names several or another, it was forwarded on the way.
            own = [each for each in report.findings if each.recipient.casefold() == sending.recipient.casefold()]
            self._record((own or list(report.findings))[0], sending, report)
            return
        for finding in report.findings:
            found = None
            # A soft bounce of somebody else's letter to the same person says nothing of ours.
            if finding.recipient and not (report.foreign and finding.kind in ("soft", "delivered")):
                found = self._by_recipient(finding.recipient, report)
            if found is not None:
                self._record(finding, found, report)
            else:
                self._address(finding, report)

    def _by_key(self, report: Report) -> Sending | None:
        claims = [self._links.read("unsubscribe", token) for token in report.tokens] if self._links else []
        for key in (*report.keys, *(claim.key for claim in claims if claim is not None)):
            sending = statuses.by_key(self._connection, key)
            if sending is not None:
                return sending
        return None

    def _by_recipient(self, recipient: str, report: Report) -> Sending | None:
        """The newest e-mail that left to this address shortly before the report."""
        row = self._connection.execute(
            "SELECT o.key FROM contacts c JOIN outbox o ON o.contact_id = c.id AND o.counted_at IS NOT NULL "
            "AND o.channel = (SELECT id FROM names WHERE kind = 'channel' AND name = :channel) "
            "AND o.counted_at > :at - :before AND o.counted_at <= :at AND o.state IN (2, 3, 5) "
            "WHERE c.email = :recipient AND lower(o.recipient) = lower(:recipient) ORDER BY o.counted_at DESC, o.id DESC LIMIT 1",
            {"channel": CHANNEL, "recipient": recipient, "at": self._at(report), "before": LEFT_BEFORE_MS},
        ).fetchone()
        return statuses.by_key(self._connection, row[0]) if row else None

    def _record(self, finding: Finding, sending: Sending, report: Report) -> None:
        status = _STATUSES[finding.kind]
        at = self._at(report)
        told = self._connection.execute(
            "SELECT 1 FROM message_events WHERE contact_id = ? AND message = ? AND status = ? AND outbox_id = ?",
            (sending.contact_id, sending.message_id, status, sending.outbox_id),
        ).fetchone()
        detail = None
        if status == statuses.BOUNCED:
            said = {"bounce": finding.kind, "status": finding.status, "said": finding.said}
            detail = json.dumps({name: value for name, value in said.items() if value}, ensure_ascii=False)
        reported = statuses.Status(
            sending=sending, status=status, at=at, detail=detail, suppresses=finding.kind != "soft"
        )
        identity = f"mailbox\0{sending.key}\0{statuses.NAMES[status]}"
        if told or not statuses.note(self._connection, reported, identity=identity):
            self.outcome.counts["known"] += 1
            return
        was_suppressed = self._is_suppressed(sending.recipient)
        self.outcome.settled += self._is_in_doubt(sending)
        statuses.record(self._connection, [reported], now=self._now)
        if finding.kind == "soft" and self._soft_in_a_row(sending, at) >= SOFT_MAX:
            source = f"{SOFT_MAX} soft bounces in a row"
            suppressions.suppress(
                self._connection, CHANNEL, [sending.recipient], reason="bounced", source=source, at=at, now=self._now
            )
        self.outcome.counts[finding.kind] += 1
        self.outcome.suppressed += self._is_suppressed(sending.recipient) - was_suppressed

    def _address(self, finding: Finding, report: Report) -> None:
        """About no message of ours, but perhaps about somebody we write to."""
        reason = _REASONS.get(finding.kind)
        known = (
            finding.recipient
            and self._connection.execute(
                "SELECT 1 FROM contacts WHERE email = ? LIMIT 1", (finding.recipient,)
            ).fetchone()
        )
        if not known or reason is None:
            self.outcome.counts["unknown"] += 1
            return
        new = suppressions.suppress(
            self._connection,
            CHANNEL,
            [finding.recipient],
            reason=reason,
            source=_SOURCE,
            at=self._at(report),
            now=self._now,
        )
        self.outcome.counts["address" if new else "known"] += 1
        self.outcome.suppressed += new

    def _soft_in_a_row(self, sending: Sending, at: int) -> int:
        """How many of the newest e-mails to this address bounced softly within the time, none delivered between them."""
        rows = self._connection.execute(
            "SELECT o.counted_at, max(m.status = 5), max(m.status IN (1, 2, 3)) FROM outbox o "
            "LEFT JOIN message_events m ON m.contact_id = o.contact_id AND m.message = o.message AND m.outbox_id = o.id "
            "WHERE o.contact_id = :contact AND o.channel = :channel AND o.counted_at IS NOT NULL AND o.counted_at > :from "
            "AND o.state = 3 AND lower(o.recipient) = lower(:recipient) GROUP BY o.id ORDER BY o.counted_at DESC, o.id DESC",
            {
                "contact": sending.contact_id,
                "channel": sending.channel_id,
                "from": at - SOFT_MS - GIVEN_UP_MS,
                "recipient": sending.recipient,
            },
        ).fetchall()
        count = 0
        for left_at, bounced, answered in rows:
            if bounced:
                count += left_at > at - SOFT_MS
            elif answered or left_at <= self._now - GIVEN_UP_MS:
                break
        return count

    def _is_in_doubt(self, sending: Sending) -> bool:
        row = self._connection.execute(
            "SELECT state = 5 OR state = 0 AND doubts > 0 FROM outbox WHERE id = ?", (sending.outbox_id,)
        ).fetchone()
        return bool(row[0])

    def _is_suppressed(self, recipient: str) -> bool:
        return suppressions.is_suppressed(self._connection, CHANNEL, recipient)

    def _at(self, report: Report) -> int:
        """When the report was written; clocks of strangers may be ahead."""
        return self._now if report.at is None else min(report.at, self._now)
