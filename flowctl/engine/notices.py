"""Sends alerts to the own people by the e-mail channel: at most once, past consent, caps and quiet hours, for they are no marketing."""

from __future__ import annotations

import html as markup
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowctl.channels.address import NotAnAddress, wire_address
from flowctl.channels.channel import Letter
from flowctl.channels.recording import RecordingChannel
from flowctl.engine import mime
from flowctl.engine.only_to import outside
from flowctl.engine.runtime import ALERT
from flowctl.failure import Failure
from flowctl.store import breakers
from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from flowctl.channels.channel import Channel, Receipt
    from flowctl.engine.dkim import Signers
    from flowctl.engine.runtime import Runtime
    from flowctl.store.database import Store

READY, TRANSMITTING, SENT, FAILED, IN_DOUBT = range(5)
ROWS_MAX = 500  # a tick; more than this is nobody's inbox
ATTEMPTS_MAX = 8
BACKOFF_MS = 60_000  # doubled at each attempt
SUBJECT_CHARS_MAX = 120
_STATE_OF = {"sent": SENT, "failed": FAILED, "in_doubt": IN_DOUBT}


@dataclass(kw_only=True)
class Noticed:
    """What sending alerts did."""

    sent: int = 0
    failed: int = 0
    refusals: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Notice:
    id: int
    recipient: str
    owner: str | None
    text: str
    attempts: int
    contact: str
    workflow: str

    @property
    def about(self) -> str:
        """The contact and the workflow, in words."""
        return f"contact {self.contact}, workflow {self.workflow}"


def send_notices(
    store: Store, runtime: Runtime, channels: Callable[[str], Channel], clock: Callable[[], int]
) -> Noticed:
    """Everything that is ready. What an earlier process was transmitting may have arrived and is not sent again."""
    connection = store.connection
    done = Noticed()
    with transaction(connection):
        connection.execute(
            f"UPDATE notices SET state = {IN_DOUBT}, settled_at = ?, reply = 'the process ended while it was transmitting' "
            f"WHERE state = {TRANSMITTING}",
            (clock(),),
        )
        _skip_outside(connection, runtime, clock())
    waiting = _waiting(connection, clock())
    if not waiting:
        return done
    ways: dict[str, list[_Notice]] = {}
    for notice in waiting:
        ways.setdefault(notice.recipient if notice.recipient.startswith(ALERT) else "email", []).append(notice)
    for way, notices in ways.items():
        _send_by(way, notices, store, runtime, channels, clock, done)
    return done


def _send_by(
    way: str,
    notices: list[_Notice],
    store: Store,
    runtime: Runtime,
    channels: Callable[[str], Channel],
    clock: Callable[[], int],
    done: Noticed,
) -> None:
    """The notices of one way, until it refuses: by e-mail, or to the alert of a team. The e-mail provider's breaker is the messages' own."""
    connection = store.connection
    breaker = next((each for each in breakers.breakers(connection) if each.channel == way), None)
    if breaker is not None and breaker.until_at > clock():
        done.refusals[way] = breaker.reply
        _postpone(connection, notices, breaker.until_at)
        return
    try:
        line = _channel(way, runtime, channels).open()
    except (Failure, KeyError) as failure:
        done.refusals[way] = str(failure)
        _postpone(connection, notices, clock() + BACKOFF_MS)
        return
    try:
        for nth, notice in enumerate(notices):
            receipt = _send(store, runtime, line, notice, clock, getattr(channels, "signers", None))
            if receipt is not None and receipt.opens_breaker:
                done.refusals[way] = receipt.reply
                wait_ms = int((receipt.retry_after_s or 0) * 1000)
                until = breakers.refused(connection, way, receipt.reply, wait_ms=wait_ms, now=clock())
                _postpone(connection, notices[nth:], until)
                break
            if breaker is not None and receipt is not None and receipt.outcome != "in_doubt":
                breakers.taken(connection, way)
                breaker = None
            done.sent += receipt is not None and receipt.outcome == "sent"
            done.failed += receipt is None or receipt.outcome == "failed"
    finally:
        line.close()


def _postpone(connection: sqlite3.Connection, notices: list[_Notice], until: int) -> None:
    with transaction(connection):
        connection.executemany(
            f"UPDATE notices SET ready_at = ? WHERE id = ? AND state = {READY}",
            [(until, notice.id) for notice in notices],
        )


def _channel(way: str, runtime: Runtime, channels: Callable[[str], Channel]) -> Channel:
    if way == "email":
        return channels("email")
    if runtime.experiment is not None:  # no network
        return RecordingChannel()
    from flowctl.engine.alerts import alert_channel  # noqa: PLC0415 - http.client, only where there are alerts

    team = way.removeprefix(ALERT)
    return alert_channel(team, runtime.said["teams"].get(team, {}))


def _skip_outside(connection: sqlite3.Connection, runtime: Runtime, now: int) -> None:
    """What goes to nobody in this environment."""
    patterns = runtime.said.get("only_to")
    if patterns is not None:
        connection.execute(
            f"UPDATE notices SET state = {FAILED}, ready_at = NULL, settled_at = :now, reply = 'only_to: no address of this environment' "
            f"WHERE ready_at <= :now AND {outside('recipient')}",
            {"now": now, "patterns": json.dumps(patterns)},
        )


def _waiting(connection: sqlite3.Connection, now: int) -> list[_Notice]:
    rows = connection.execute(
        "SELECT n.id, n.recipient, n.owner, n.text, n.attempts, coalesce(c.key, c.email, '#' || c.id), v.workflow "
        "FROM notices n JOIN contacts c ON c.id = n.contact_id JOIN workflow_versions v ON v.id = n.version_id "
        f"WHERE n.ready_at <= ? ORDER BY n.id LIMIT {ROWS_MAX}",
        (now,),
    )
    return [
        _Notice(
            id=row[0],
            recipient=row[1],
            owner=row[2],
            text=row[3],
            attempts=row[4],
            contact=row[5],
            workflow=row[6],
        )
        for row in rows
    ]


def _send(
    store: Store, runtime: Runtime, line: Any, notice: _Notice, clock: Callable[[], int], signers: Signers | None
) -> Receipt | None:
    """One alert; None where no letter can be made of it."""
    connection = store.connection
    try:
        if notice.recipient.startswith(ALERT):
            letter = _alert(store.uuid, runtime.said, notice)
        else:
            letter = _letter(store.uuid, runtime.said, notice, clock(), signers)
    except (NotAnAddress, UnicodeError) as fault:
        with transaction(connection):
            _settle(connection, notice, FAILED, str(fault), clock())
        return None

    def commit() -> bool:
        with transaction(connection):
            return bool(
                connection.execute(
                    f"UPDATE notices SET state = {TRANSMITTING}, ready_at = NULL, attempts = attempts + 1 "
                    f"WHERE id = ? AND state = {READY}",
                    (notice.id,),
                ).rowcount
            )

    receipt: Receipt = line.transmit(letter, commit)
    with transaction(connection):
        if receipt.outcome in _STATE_OF:
            _settle(connection, notice, _STATE_OF[receipt.outcome], receipt.reply, clock())
        elif not receipt.fenced:
            _retry(connection, notice, receipt, clock())
    return receipt


def _settle(connection: sqlite3.Connection, notice: _Notice, state: int, reply: str, now: int) -> None:
    connection.execute(
        "UPDATE notices SET state = ?, ready_at = NULL, settled_at = ?, reply = ? WHERE id = ?",
        (state, now, reply, notice.id),
    )


def _retry(connection: sqlite3.Connection, notice: _Notice, receipt: Receipt, now: int) -> None:
    """Later; it costs an attempt only where the fault is the letter's own."""
    own = not receipt.opens_breaker
    if own and notice.attempts + 1 >= ATTEMPTS_MAX:
        _settle(connection, notice, FAILED, receipt.reply, now)
        return
    connection.execute(
        f"UPDATE notices SET state = {READY}, ready_at = ?, attempts = ?, reply = ? WHERE id = ?",
        (now + (BACKOFF_MS << notice.attempts), notice.attempts + own, receipt.reply, notice.id),
    )


def _alert(store_uuid: str, said: dict[str, Any], notice: _Notice) -> Letter:
    """What an alert says; which of it is shown, its kind decides."""
    first = next((line.strip() for line in notice.text.splitlines() if line.strip()), "alert")
    to = f"For {notice.owner}: " if notice.owner else ""
    payload = {
        "title": f"[{said['project']}] {to}{first}"[:SUBJECT_CHARS_MAX], "text": f"{to}{notice.text.rstrip()}", "about": notice.about,
        "project": said["project"], "team": notice.recipient.removeprefix(ALERT), "owner": notice.owner, "contact": notice.contact,
        "workflow": notice.workflow,
    }  # fmt: skip
    key = f"notice-{notice.id}-{store_uuid[:8]}"
    return Letter(
        key=key, message_id="", channel="alert", sender="", recipient=notice.recipient, payload=payload, marketing=False
    )


def _letter(store_uuid: str, said: dict[str, Any], notice: _Notice, now: int, signers: Signers | None) -> Letter:
    name, sender_address = said["notices_from"]
    sender, recipient = wire_address(sender_address), wire_address(notice.recipient)
    key = f"notice-{notice.id}-{store_uuid[:8]}"
    first = next((line.strip() for line in notice.text.splitlines() if line.strip()), "alert")
    to = f"For {notice.owner}: " if notice.owner and "@" not in notice.owner else ""
    subject = mime.encoded_value(f"[{said['project']}] {to}{first}"[:SUBJECT_CHARS_MAX])
    text = f"{notice.text.rstrip()}\n\n-- \n{notice.about}\n"
    html = f'<p style="white-space:pre-wrap">{markup.escape(text)}</p>'
    (text_body, text_encoding), (html_body, html_encoding) = mime.body(text), mime.body(html)
    encodings = (text_encoding, html_encoding)
    shape = mime.skeleton(name=name, address=sender, reply_to=None, marketing=False, encodings=encodings)
    message_id = f"<{key}@{sender.rpartition('@')[2].lower()}>"
    headers = [("To", recipient), ("Subject", subject), ("Date", mime.date_value(now)), ("Message-ID", message_id)]
    payload = shape.filled(mime.header_lines(headers), text_body, html_body)
    signer = signers.of(sender) if signers else None
    if signer is not None:
        payload = signer.signed(payload, at=now)
    return Letter(
        key=key,
        message_id=message_id,
        channel="email",
        sender=sender,
        recipient=recipient,
        payload=payload,
        marketing=False,
    )
