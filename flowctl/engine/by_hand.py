"""What a person orders: enrolling somebody, resolving a message in doubt, trying a failed one again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from flowctl.engine.finish import end
from flowctl.engine.runtime import EXITED, IN_DOUBT, KIND, READY, REFUSED, SENT
from flowctl.failure import UsageFailure
from flowctl.language.settings import EXPIRE_AFTER
from flowctl.store import breakers
from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from flowctl.engine.runtime import Runtime

How = Literal["sent", "resend", "drop"]


def enroll(
    connection: sqlite3.Connection,
    runtime: Runtime,
    workflow: str,
    contacts: Iterable[int],
    *,
    step: str | None,
    force: bool,
    now: int,
    inputs: Mapping[str, Any] | None = None,
) -> int:
    """Write entries that the next tick judges as it judges all others; `force` passes the audience. Returns how many.

    Raises:
        UsageFailure: no such workflow, none that lets people in, or no such step.
    """
    entrance = next((each for each in runtime.entrances if each.workflow == workflow), None)
    if entrance is None:
        fault = _unknown("workflow", workflow, [each.workflow for each in runtime.entrances])
        raise fault
    if not runtime.admits(workflow):
        message = f"workflow {workflow} is {runtime.states[workflow][0]}{' by hand' if runtime.states[workflow][1] else ''}: nobody enters"
        raise UsageFailure(message, help="set `state: live` and apply")
    steps = runtime.versions[entrance.version_id].steps
    if step is not None and step not in steps:
        fault = _unknown("step", step, list(steps))
        raise fault
    trigger = json.dumps({"at": now})
    data = json.dumps({"input": dict(inputs)}) if inputs else None
    rows = [(contact, workflow, now, f"manual:{now}", trigger, data, step, int(force)) for contact in contacts]
    with transaction(connection):
        connection.executemany(
            "INSERT INTO entries (contact_id, workflow, at, cause, trigger, data, step, forced) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (workflow, contact_id, cause) DO NOTHING",
            rows,
        )
    return len(rows)


def resolve(connection: sqlite3.Connection, key: str, how: How, *, now: int) -> None:
    """Settle a message in doubt: it was sent, it is to be sent again, or it is given up.

    Raises:
        UsageFailure: no message in doubt has this key.
    """
    with transaction(connection):
        row = _row(connection, key, IN_DOUBT, "in doubt")
        if how == "resend":
            _again(connection, row[0], now)
        else:
            state, reason = (SENT, None) if how == "sent" else (REFUSED, "dropped")
            connection.execute(
                "UPDATE outbox SET state = ?, reason = ?, counted_at = CASE WHEN ? = 3 THEN counted_at END WHERE id = ?",
                (state, reason, state, row[0]),
            )
            if how == "sent":
                connection.execute(
                    "INSERT INTO message_events (contact_id, message, status, at, outbox_id, enrollment_id, channel) "
                    "SELECT contact_id, message, 0, counted_at, id, enrollment_id, channel FROM outbox WHERE id = ?",
                    (row[0],),
                )
        _note(connection, row, {"by": "hand", "state": how}, now)


def retry(connection: sqlite3.Connection, key: str, *, now: int) -> None:
    """Send a failed message after all.

    Raises:
        UsageFailure: no failed message has this key.
    """
    with transaction(connection):
        row = _row(connection, key, REFUSED, "failed")
        _again(connection, row[0], now)
        _note(connection, row, {"by": "hand", "state": "retry"}, now)


def retry_channel(connection: sqlite3.Connection, channel: str, *, now: int) -> int:
    """Let the next tick try a provider that refused everything; returns how many messages wait for it.

    Raises:
        UsageFailure: that channel's provider refuses nothing.
    """
    was_open, waiting = breakers.retry_now(connection, channel, now=now)
    if not was_open:
        open_ = [breaker.channel for breaker in breakers.breakers(connection)]
        message = f"the provider of {channel!r} refuses nothing"
        raise UsageFailure(
            message, help=f"refusing now: {', '.join(open_)}" if open_ else "no provider refuses anything"
        )
    return waiting


def pause(connection: sqlite3.Connection, workflow: str) -> None:
    """Nobody enters, nobody moves, nothing leaves, until `resume`, whatever is applied meanwhile.

    Raises:
        UsageFailure: no such workflow.
    """
    _order(connection, workflow, "paused")


def drain(connection: sqlite3.Connection, workflow: str) -> None:
    """Nobody enters; those inside finish. Until `resume`.

    Raises:
        UsageFailure: no such workflow.
    """
    _order(connection, workflow, "draining")


def stop(connection: sqlite3.Connection, workflow: str, *, now: int) -> int:
    """Nobody enters until `resume`, and those inside leave at once as `stopped`; returns how many. Their messages are taken back.

    Raises:
        UsageFailure: no such workflow.
    """
    with transaction(connection):
        _order(connection, workflow, "stopped")
        return end(
            connection,
            "SELECT id, :now FROM enrollments WHERE workflow = :workflow AND ended_at IS NULL",
            EXITED,
            "stopped",
            now,
            workflow=workflow,
        )


def resume(connection: sqlite3.Connection, workflow: str, *, now: int) -> tuple[str, int]:
    """Take back what was ordered by hand, or by a guard; what was held is ready at once, and what expired meanwhile is skipped.

    Returns the state that the newest release gives the workflow, and how many messages were held.

    Raises:
        UsageFailure: no such workflow, or nothing was ordered by hand.
    """
    with transaction(connection):
        state, by_hand, note = _state(connection, workflow)
        if by_hand is None and note is None:
            message = f"workflow {workflow} is {state}, and nothing else was ordered by hand"
            raise UsageFailure(message, help="set `state: live` in its file and apply" if state != "live" else "")
        connection.execute(
            "UPDATE workflow_states SET by_hand = NULL, note = NULL, resumed_at = ? WHERE workflow = ?", (now, workflow)
        )
        held = connection.execute(
            f"UPDATE outbox SET ready_at = ? WHERE state = {READY} AND ready_at > ? AND reason = 'paused' "
            "AND version_id IN (SELECT id FROM workflow_versions WHERE workflow = ?)",
            (now, now, workflow),
        ).rowcount
    return state, held


def _order(connection: sqlite3.Connection, workflow: str, word: str) -> None:
    with transaction(connection):
        _state(connection, workflow)
        connection.execute("UPDATE workflow_states SET by_hand = ?, note = NULL WHERE workflow = ?", (word, workflow))


def _state(connection: sqlite3.Connection, workflow: str) -> tuple[str, str | None, str | None]:
    row = connection.execute(
        "SELECT state, by_hand, note FROM workflow_states WHERE workflow = ?", (workflow,)
    ).fetchone()
    if row is None:
        fault = _unknown(
            "workflow", workflow, [name for (name,) in connection.execute("SELECT workflow FROM workflow_states")]
        )
        raise fault
    return str(row[0]), row[1], row[2]


def _again(connection: sqlite3.Connection, outbox_id: int, now: int) -> None:
    # The reason tells the gate that a person wants it, although its contact has moved on.
    connection.execute(
        f"UPDATE outbox SET state = {READY}, ready_at = ?, counted_at = NULL, settled_at = NULL, reason = 'resend', attempts = 0, "
        "expires_at = max(expires_at, ?) WHERE id = ?",
        (now, now + EXPIRE_AFTER.elapsed_ms, outbox_id),
    )


def _row(connection: sqlite3.Connection, key: str, state: int, word: str) -> tuple[int, int, int, int, int]:
    rows = connection.execute(
        "SELECT id, contact_id, enrollment_id, version_id, pc FROM outbox WHERE key >= ? AND key < ? AND state = ?",
        (key, key + "g", state),
    ).fetchall()
    if len(rows) != 1:
        message = (
            f"no message {word} has a key that begins with {key!r}"
            if not rows
            else f"{len(rows)} messages {word} have keys that begin with {key!r}"
        )
        raise UsageFailure(message, help="`flowctl outbox list` shows the keys")
    found: tuple[int, int, int, int, int] = rows[0]
    return found


def _note(
    connection: sqlite3.Connection, row: tuple[int, int, int, int, int], detail: dict[str, str], now: int
) -> None:
    connection.execute(
        "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row[1], row[2], row[3], row[4], now, KIND["resolved"], json.dumps(detail)),
    )


def _unknown(what: str, name: str, known: list[str]) -> UsageFailure:
    import difflib  # noqa: PLC0415 - only where somebody slipped

    near = difflib.get_close_matches(name, known, 1)
    return UsageFailure(
        f"no {what} {name!r}",
        help=f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known)) or 'none'}",
    )
