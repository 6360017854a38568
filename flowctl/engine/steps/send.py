"""`send`: a row for the outbox; the contact stays until the message left or was skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.literal import identifier
from flowctl.engine.work import AT, HERE, PARKED, POSTING, RUNNING, Post
from flowctl.language.settings import EXPIRE_AFTER
from flowctl.language.steps import SendStep
from flowctl.language.steps.send import AllChannels, SameChannel

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.language.message import Message
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """The message, its channels with what makes them reachable and the address, how long it may wait.

    `channels`: [{id, name, reach: SQL, recipient: SQL}] in order of preference; `all`: one message on each of them.
    """
    step = instruction.step
    assert isinstance(step, SendStep)  # noqa: S101 - the op says so
    message = compiler.message(step)
    if message is None:
        return {}
    via = step.via
    same_as = None
    match via:
        case None:
            channels = list(message.channels)
        case str():
            channels = [via]
        case AllChannels():
            channels = list(via.all_)
        case SameChannel():
            channels, same_as = list(message.channels), via.same_as
        case _:
            channels = list(via)
    expire = step.expire_after or message.expire_after or EXPIRE_AFTER
    ways = [compiler.channel(step, message, name) for name in channels]
    return {
        "message": message.name,
        "message_id": compiler.message_ids[message.name],
        "marketing": int(message.purpose == "marketing"),
        "channels": ways if step.to is None else _addressed(step, message, ways, compiler),
        "all": isinstance(via, AllChannels) or step.to is not None,
        "same_as": same_as,
        "expire_ms": expire.elapsed_ms,
        "when": compiler.condition(step.when) if step.when is not None else None,
    }


def _addressed(
    step: SendStep, message: Message, ways: list[dict[str, Any]], compiler: Compiler
) -> list[dict[str, Any]]:
    """One message for each address of `to:`; only the contact's own carries the consent that marketing needs."""
    if len(ways) > 1:
        compiler.refuse(step, "`to:` needs to know what its addresses are for: say one channel in `via:`", "to")
    found = []
    for source in step.to or []:
        scope, _, name = source.partition(".")
        if scope != "contact" or "." in name:
            compiler.refuse(step, f"`to:` takes addresses from fields of the contact; `{source}` is none", "to")
            continue
        recipient = f"c.{identifier(name)}"
        for way in ways:
            own = way["recipient"].replace('"', "") == f"c.{name}"
            if not own and message.purpose == "marketing":
                compiler.refuse(
                    step, f"marketing goes to the contact's own address only: nobody consented for `{source}`", "to"
                )
            found.append(way if own else {**way, "reach": f"{recipient} IS NOT NULL", "recipient": recipient})
    return found


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Settled rows go on; new rows get their outbox rows and park."""
    _go_on(batch, version, pc, said)
    _arrive(batch, version, pc, said)


def _go_on(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    here = batch.here(version, pc)
    back = f"WHERE {HERE} AND w.woken = 1"
    mine = "FROM outbox o WHERE o.enrollment_id = w.eid AND o.pc = w.pc AND o.visit = w.visit"
    touched = batch.execute(
        f"UPDATE work AS w SET way = (SELECT CASE WHEN min(o.state) < 3 THEN 2 ELSE max(o.state IN (3, 5)) END {mine}), "
        f"found_at = (SELECT coalesce(max(CASE WHEN o.state IN (3, 5) THEN o.settled_at END), max(o.settled_at)) {mine}) {back}",
        **here,
    )
    if not touched:
        return
    left, skipped = " AND w.woken = 1 AND w.way = 1", " AND w.woken = 1 AND coalesce(w.way, 0) = 0"
    batch.move(version, pc, said["targets"]["next"], left, ", at = coalesce(w.found_at, w.at)")
    batch.move(version, pc, said["targets"]["skipped"], skipped, ", at = coalesce(w.found_at, w.at)")
    batch.execute(f"UPDATE work AS w SET parked = 1, due_at = NULL {back}", **here)


def _arrive(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    if said["all"]:
        _arrive_on_all(batch, version, pc, said)
        return
    here = batch.here(version, pc)
    # A new visit; who is reachable is posted when the batch is written back.
    batch.execute(
        f"UPDATE work AS w SET parked = {POSTING}, visit = visit + 1, due_at = NULL, until_at = w.at + :expire, "
        f"way = (SELECT CASE {_cases(version, said)} END FROM contacts c WHERE c.id = w.contact_id) WHERE {HERE}",
        expire=said["expire_ms"],
        **here,
    )
    for channel in said["channels"]:
        batch.posts[version.id, pc, channel["id"]] = Post(
            message=said["message_id"],
            marketing=said["marketing"],
            priority=version.priority,
            recipient=channel["recipient"],
        )
    if batch.execute(
        f"UPDATE work AS w SET parked = {RUNNING}, until_at = NULL WHERE {AT} AND w.parked = {POSTING} AND w.way IS NULL",
        **here,
    ):
        batch.note(version, pc, "skipped", "json_object('reason', 'unreachable')")
        batch.move(version, pc, said["targets"]["skipped"])


def _arrive_on_all(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    here = batch.here(version, pc)
    batch.execute(f"UPDATE work AS w SET visit = visit + 1, way = NULL WHERE {HERE}", **here)
    for channel in said["channels"]:
        _post(batch, version, pc, said, channel["id"], channel["recipient"], f"({channel['reach']})")
    nobody = (
        " AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.enrollment_id = w.eid AND o.pc = w.pc AND o.visit = w.visit)"
    )
    batch.note(version, pc, "skipped", "json_object('reason', 'unreachable')", where=nobody)
    batch.move(version, pc, said["targets"]["skipped"], nobody)
    batch.note(version, pc, "send")
    batch.sends += batch.execute(
        f"UPDATE work AS w SET parked = {PARKED}, due_at = NULL, until_at = w.at + :expire WHERE {HERE}",
        expire=said["expire_ms"],
        **here,
    )


def _cases(version: Version, said: dict[str, Any]) -> str:
    """The first reachable channel, or the one that an earlier step used where it is still reachable."""
    used = ""
    if said["same_as"]:
        earlier = version.steps[said["same_as"]]
        used = (
            f"(SELECT o.channel FROM outbox o WHERE o.enrollment_id = w.eid AND o.pc IN ({earlier}, {earlier + 1}) "
            "AND o.state IN (3, 5) ORDER BY o.visit DESC, o.id DESC LIMIT 1)"
        )
    tests = ((f"{used} = {channel['id']} AND " if used else "") + channel["reach"] for channel in said["channels"])
    return " ".join(f"WHEN {test} THEN {channel['id']}" for test, channel in zip(tests, said["channels"], strict=True))


def _post(
    batch: Batch, version: Version, pc: int, said: dict[str, Any], channel: int, recipient: str, where: str
) -> None:
    """Outbox rows; a second look at the same visit finds them there and adds none."""
    batch.execute(
        "INSERT INTO outbox (contact_id, enrollment_id, version_id, pc, visit, channel, message, recipient, marketing, priority, arrived_at, "
        f"expires_at, ready_at) SELECT w.contact_id, w.eid, w.version, w.pc, w.visit, {channel}, :message, "
        f"(SELECT {recipient} FROM contacts c WHERE c.id = w.contact_id), :marketing, :priority, w.at, w.at + :expire, w.at FROM work w "
        f"WHERE {HERE} AND EXISTS (SELECT 1 FROM contacts c WHERE c.id = w.contact_id AND {where}) "
        "ON CONFLICT (enrollment_id, pc, visit, channel, recipient) DO NOTHING",
        message=said["message_id"],
        marketing=said["marketing"],
        priority=version.priority,
        expire=said["expire_ms"],
        **batch.here(version, pc),
    )
