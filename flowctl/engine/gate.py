"""The gate: of what is ready to leave, what may leave now, what waits until when, and what never will."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowctl.engine.finish import judge_leaving, settled
from flowctl.engine.only_to import outside
from flowctl.engine.quiet_hours import QuietHours
from flowctl.engine.runtime import CANCELLED, CLAIMED, KIND, SKIPPED
from flowctl.engine.variants import draw, load_arms

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from flowctl.engine.runtime import Runtime, Version

CHUNK_ROWS = 1_000  # rows claimed at once: what one transaction judges, and a crash can leave claimed, twice
PAUSE_LOOK_MS = (
    15 * 60_000
)  # how soon a message of a paused workflow is looked at again; resuming makes it ready at once

_CREATE = (
    "CREATE TEMP TABLE IF NOT EXISTS ready (place INTEGER PRIMARY KEY, id INTEGER NOT NULL, contact_id INTEGER NOT NULL)",
    """CREATE TEMP TABLE IF NOT EXISTS gate (
      id INTEGER PRIMARY KEY, contact_id INTEGER NOT NULL, eid INTEGER NOT NULL, version INTEGER NOT NULL, pc INTEGER NOT NULL,
      visit INTEGER NOT NULL, channel INTEGER NOT NULL, message INTEGER NOT NULL, recipient TEXT NOT NULL, marketing INTEGER NOT NULL,
      priority INTEGER NOT NULL, arrived_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, counted_at INTEGER, verdict TEXT, until_at INTEGER,
      entered_at INTEGER, at INTEGER, doubts INTEGER NOT NULL, held_for TEXT, place INTEGER, closes_at INTEGER
    )""",
    "CREATE TEMP TABLE IF NOT EXISTS gate_window (channel INTEGER, n INTEGER NOT NULL, ms INTEGER NOT NULL)",
    "CREATE TEMP TABLE IF NOT EXISTS gate_message (message INTEGER PRIMARY KEY, once_ms INTEGER, topic TEXT)",
)
# A row of `gate` as compiled conditions know it. Few ask for what is long, so it is not copied.
_W = (
    "(SELECT x.*, (SELECT e.trigger FROM enrollments e WHERE e.id = x.eid) AS trigger, "
    "(SELECT e.data FROM enrollments e WHERE e.id = x.eid) AS data FROM gate x)"
)
_GONE = "(e.ended_at IS NOT NULL OR e.pc != {row}.pc)"


@dataclass(kw_only=True)
class Gated:
    """What a pass decided."""

    held: int = 0
    skipped: int = 0
    cancelled: int = 0
    rerouted: int = 0

    def __add__(self, other: Gated) -> Gated:
        return Gated(**{name: count + getattr(other, name) for name, count in vars(self).items()})


class Gate:
    """One pass over what is ready at `now` (UTC ms): chunks of whole contacts, transactional messages first."""

    def __init__(self, connection: sqlite3.Connection, runtime: Runtime, now: int) -> None:
        self._connection = connection
        self._runtime = runtime
        self._now = now
        for statement in _CREATE:
            connection.execute(statement)
        self._load_rules()

    def _load_rules(self) -> None:
        said = self._runtime.said
        self._execute("DELETE FROM gate_window")
        self._execute("DELETE FROM gate_message")
        self._connection.executemany(
            "INSERT INTO gate_window VALUES (?, ?, ?)",
            [
                (None if name == "all" else said["channel_ids"][name], n, ms)
                for name, windows in said["pressure"]["windows"].items()
                for n, ms in windows
            ],
        )
        self._connection.executemany(
            "INSERT INTO gate_message VALUES (?, ?, ?)",
            [(message["id"], message["once_ms"], message["topic"]) for message in said["messages"].values()],
        )

        self._once = any(message["once_ms"] is not None for message in said["messages"].values())
        if said.get("quiet_hours"):  # they alone look for the other messages of a contact
            self._execute("CREATE INDEX IF NOT EXISTS temp.gate_contact ON gate (contact_id, channel)")
        self._draws = load_arms(self._connection, self._runtime)
        self._quiet = QuietHours(self._connection, said, self._now)

    def _execute(self, sql: str, **params: object) -> int:
        return self._connection.execute(sql, {"now": self._now, **params}).rowcount

    def chunks(self, *, stopped: bool = False) -> Iterator[tuple[int, int]]:
        """Ranges of places in `ready`, each of about `CHUNK_ROWS` rows that never part a contact's; marketing not where it is `stopped`."""
        self._execute("DELETE FROM ready")
        only = " AND (marketing = 0 OR reason = 'resend')" if stopped else ""
        self._execute(
            f"INSERT INTO ready (id, contact_id) SELECT id, contact_id FROM outbox WHERE ready_at <= :now{only} ORDER BY marketing, contact_id, id"
        )
        self._quiet.take_turns()
        (last,) = self._connection.execute("SELECT coalesce(max(place), 0) FROM ready").fetchone()
        start = 0
        while start < last:
            stop = min(start + CHUNK_ROWS, last)
            (stop,) = self._connection.execute(
                "SELECT coalesce((SELECT min(r.place) - 1 FROM ready r WHERE r.place > :stop AND r.contact_id != "
                "(SELECT contact_id FROM ready WHERE place = :stop)), :last)",
                {"stop": stop, "last": last},
            ).fetchone()
            yield start, stop
            start = stop

    def judge(self, start: int, stop: int, *, blocked: Mapping[int, int]) -> Gated:
        """Claim, hold or skip one chunk, inside the caller's transaction; the claimed rows are those of `gate` without verdict.

        `blocked` maps channels whose provider refuses everything just now to when to look again.
        """
        self._execute("DELETE FROM gate")
        self._execute(
            "INSERT INTO gate SELECT o.id, o.contact_id, o.enrollment_id, o.version_id, o.pc, o.visit, o.channel, o.message, o.recipient, "
            "o.marketing, o.priority, o.arrived_at, o.expires_at, NULL, "
            f"CASE WHEN {_GONE.format(row='o')} AND o.reason IS NOT 'resend' THEN 'gone' END, NULL, e.entered_at, e.at, o.doubts, o.reason, "
            # `place` and `closes_at`: where its quiet hours are, and how long it may leave.
            "NULL, NULL "
            "FROM outbox o CROSS JOIN enrollments e ON e.id = o.enrollment_id "
            "WHERE o.id IN (SELECT id FROM ready WHERE place > :start AND place <= :stop) AND o.ready_at <= :now",
            start=start,
            stop=stop,
        )
        if judge_leaving(self._connection, self._runtime, self._now):
            self._verdict(
                "gone",
                f"EXISTS (SELECT 1 FROM enrollments e WHERE e.id = g.eid AND {_GONE.format(row='g')}) "
                "AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.id = g.id AND o.reason = 'resend')",
            )
        self._pause()
        self._verdict("expired", "g.expires_at <= :now")
        self._only_to()
        self._people()
        rerouted = self._steps()
        for channel, until in blocked.items():
            self._verdict("provider", "g.channel = :channel", channel=channel)
            self._execute(
                "UPDATE gate SET until_at = :until WHERE verdict = 'provider' AND channel = :channel",
                until=until,
                channel=channel,
            )
        if self._once:
            self._verdict(
                "once",
                "EXISTS (SELECT 1 FROM gate_message m, outbox o WHERE m.message = g.message AND m.once_ms IS NOT NULL AND o.contact_id = g.contact_id "
                "AND o.message = g.message AND o.counted_at > :now - m.once_ms "
                # The channels of one send are one time.
                "AND (o.enrollment_id, o.pc, o.visit) IS NOT (g.eid, g.pc, g.visit))",
            )
        self._quiet.hold(together=self._together())
        if self._once:
            self._first_of_once()
        self._caps()
        self._quiet.later()
        return self._carry_out(rerouted)

    def closing(self) -> dict[str, int]:
        """When quiet hours begin (UTC ms) for what was just claimed, by key; those without such an end are left out."""
        if not self._runtime.said.get("quiet_hours"):
            return {}
        return dict(
            self._connection.execute(
                "SELECT o.key, g.closes_at FROM gate g CROSS JOIN outbox o ON o.id = g.id WHERE g.verdict IS NULL AND g.closes_at IS NOT NULL"
            )
        )

    def _verdict(self, verdict: str, where: str, **params: object) -> int:
        return self._execute(
            f"UPDATE gate AS g SET verdict = :verdict WHERE g.verdict IS NULL AND ({where})",
            verdict=verdict,
            **params,
        )

    def _pause(self) -> None:
        for (version_id,) in self._connection.execute("SELECT DISTINCT version FROM gate").fetchall():
            version = self._runtime.versions[version_id]
            if not self._runtime.runs(version.workflow):
                self._verdict("paused", "g.version = :version", version=version_id)
        self._execute("UPDATE gate SET until_at = :now + :look WHERE verdict = 'paused'", look=PAUSE_LOOK_MS)

    def _only_to(self) -> None:
        """What an environment lets leave at all, whatever it is about."""
        patterns = self._runtime.said.get("only_to")
        if patterns is not None:
            self._verdict("only_to", outside("g.recipient"), patterns=json.dumps(patterns))

    def _together(self) -> bool | None:
        """Whether some cap counts all channels; None where there is no cap."""
        (found,) = self._connection.execute("SELECT max(channel IS NULL) FROM gate_window").fetchone()
        return None if found is None else bool(found)

    def _people(self) -> None:
        """Suppression, topics opted out of, and the control group that gets no marketing."""
        self._verdict(
            "suppressed",
            # By the contact, of whom most have none: by the hash it would have to be made for everybody.
            "g.id IN (SELECT x.id FROM gate x CROSS JOIN suppressions s INDEXED BY suppressions_contact ON s.contact_id = x.contact_id "
            "CROSS JOIN names n ON n.id = x.channel WHERE s.channel = n.name "
            "AND s.hash = address_hash(n.name, x.recipient) AND (x.marketing = 1 OR s.reason != 'unsubscribed'))",
        )
        self._verdict(
            "topic",
            "g.id IN (SELECT x.id FROM gate x CROSS JOIN gate_message m ON m.message = x.message CROSS JOIN consents k ON k.contact_id = x.contact_id "
            # Marketing and not granted, in one: for a term of `k` alone SQLite may make a Bloom filter first, which reads all consents.
            "WHERE k.granted < x.marketing AND k.purpose = 'topic:' || m.topic)",
        )
        holdout = self._runtime.said["holdout"]
        if holdout:
            self._verdict(
                "holdout",
                "g.marketing = 1 AND EXISTS (SELECT 1 FROM contacts c WHERE c.id = g.contact_id AND c._seed % 10000 < :share) "
                "AND g.version NOT IN (SELECT v.id FROM workflow_versions v WHERE v.workflow IN (SELECT value FROM json_each(:everybody)))",
                share=round(holdout * 10_000),
                everybody=json.dumps(self._runtime.said["no_holdout"]),
            )

    def _steps(self) -> int:
        """`when` and reachability as they are now, by the step that sent; the unreachable get the next channel."""
        rerouted = 0
        steps = self._connection.execute(
            "SELECT DISTINCT version, pc FROM gate WHERE verdict IS NULL OR verdict = 'suppressed'"
        ).fetchall()
        for version_id, pc in steps:
            version = self._runtime.versions[version_id]
            said = version.instructions[pc]
            here = {"version": version_id, "pc": pc}
            if said["when"]:
                self._verdict("when", _fail("w.version = :version AND w.pc = :pc", said["when"]), **here)
            for number in dict.fromkeys(channel["id"] for channel in said["channels"]):
                # With `to:` a channel has several addresses, of which the row is for one.
                ways = [channel for channel in said["channels"] if channel["id"] == number]
                reached = " OR ".join(f"(({way['reach']}) AND {way['recipient']} = w.recipient)" for way in ways)
                self._verdict(
                    "unreachable",
                    _fail("w.version = :version AND w.pc = :pc AND w.channel = :channel", reached),
                    channel=number,
                    **here,
                )
            if not said["all"] and not said["same_as"]:
                rerouted += self._reroute(version, pc, said)
        return rerouted

    def _reroute(self, version: Version, pc: int, said: dict[str, Any]) -> int:
        """The next channel of the step, where a first choice turned out unreachable before anything can have been transmitted."""
        posted = 0
        for channel in said["channels"]:
            posted += self._execute(
                "INSERT INTO outbox (contact_id, enrollment_id, version_id, pc, visit, channel, message, recipient, marketing, priority, "
                f"arrived_at, expires_at, ready_at) SELECT w.contact_id, w.eid, w.version, w.pc, w.visit, :channel, w.message, "
                f"(SELECT {channel['recipient']} FROM contacts c WHERE c.id = w.contact_id), w.marketing, w.priority, w.arrived_at, w.expires_at, :now FROM {_W} w "
                f"WHERE w.verdict IN ('unreachable', 'suppressed') AND w.doubts = 0 AND w.version = :version AND w.pc = :pc AND w.channel != :channel "
                f"AND EXISTS (SELECT 1 FROM contacts c WHERE c.id = w.contact_id AND ({channel['reach']})) "
                "AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.enrollment_id = w.eid AND o.pc = w.pc AND o.visit = w.visit "
                "AND o.id != w.id AND (o.channel = :channel OR o.state < 3)) "
                "ON CONFLICT (enrollment_id, pc, visit, channel, recipient) DO NOTHING",
                channel=channel["id"],
                version=version.id,
                pc=pc,
            )
        return posted

    def _first_of_once(self) -> None:
        self._verdict(
            "once",
            "g.id IN (SELECT id FROM (SELECT x.id, dense_rank() OVER (PARTITION BY x.contact_id, x.message "
            "ORDER BY x.priority DESC, x.arrived_at, x.eid, x.pc, x.visit) AS nth "
            "FROM gate x JOIN gate_message m ON m.message = x.message WHERE m.once_ms IS NOT NULL AND x.verdict IS NULL) WHERE nth > 1)",
        )

    def _caps(self) -> None:
        """Greedy by priority: a message leaves where its channel and `all` have room; the rest waits for the window, or is skipped."""
        if not self._connection.execute("SELECT 1 FROM gate_window LIMIT 1").fetchone():
            return
        skip = self._runtime.said["pressure"]["on_cap"] == "skip"
        for scope, partition in (("v.channel = x.channel", "contact_id, channel"), ("v.channel IS NULL", "contact_id")):
            counted = "o.channel = x.channel AND " if "channel =" in scope else ""
            self._verdict(
                "cap",
                "g.id IN (SELECT id FROM (SELECT x.id, "
                f"row_number() OVER (PARTITION BY {partition} ORDER BY x.priority DESC, x.arrived_at, x.id) AS nth, "
                f"(SELECT min(v.n - (SELECT count(*) FROM outbox o WHERE o.contact_id = x.contact_id AND {counted}o.counted_at > :now - v.ms "
                f"AND o.marketing = 1)) FROM gate_window v WHERE {scope}) AS room "
                "FROM gate x WHERE x.verdict IS NULL AND x.marketing = 1) WHERE nth > room)",
            )
        if skip:
            return
        self._execute("UPDATE gate SET counted_at = :now WHERE verdict IS NULL")
        self._claim()
        # The n-th newest that counts, plus the window: then there is room again.
        for channel, n, ms in self._connection.execute("SELECT channel, n, ms FROM gate_window").fetchall():
            counted = "" if channel is None else "AND o.channel = g.channel "
            self._execute(
                "UPDATE gate AS g SET until_at = max(coalesce(g.until_at, 0), coalesce((SELECT o.counted_at + :ms FROM outbox o "
                f"WHERE o.contact_id = g.contact_id {counted}AND o.counted_at > :now - :ms AND o.marketing = 1 "
                f"ORDER BY o.counted_at DESC LIMIT 1 OFFSET {n - 1}), 0)) "
                f"WHERE g.verdict IN ('cap', 'quiet_hours'){'' if channel is None else ' AND g.channel = :channel'}",
                ms=ms,
                channel=channel,
            )
        self._execute("UPDATE gate SET until_at = max(coalesce(until_at, 0), :now + 1000) WHERE verdict = 'cap'")

    def _claim(self) -> None:
        """The rows without verdict become claimed; a second call finds none that are still ready."""
        claimed = self._execute(
            f"UPDATE outbox SET state = {CLAIMED}, ready_at = NULL, counted_at = :now, attempts = attempts + 1, reason = CASE WHEN reason = 'resend' THEN reason END, "
            "key = coalesce(key, message_key(enrollment_id, pc, visit, channel, recipient)) WHERE id IN (SELECT id FROM gate WHERE verdict IS NULL) AND state = 0"
        )
        if self._draws and claimed:
            draw(self._connection)

    def _carry_out(self, rerouted: int) -> Gated:
        self._claim()
        judged, gone = self._connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE verdict = 'gone') FROM gate WHERE verdict IS NOT NULL"
        ).fetchone()
        if not judged:
            return Gated(rerouted=rerouted)
        self._execute(
            "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) SELECT g.contact_id, g.eid, g.version, g.pc, :now, "
            f"CASE WHEN g.until_at IS NULL THEN {KIND['skipped']} ELSE {KIND['held']} END, "
            "json_object('reason', g.verdict, 'until', g.until_at) FROM gate g CROSS JOIN outbox o ON o.id = g.id "
            "WHERE g.verdict IS NOT NULL AND g.verdict != 'gone' AND (g.until_at IS NULL OR o.reason IS NOT g.verdict)"
        )
        held = self._execute(
            "UPDATE outbox SET ready_at = min(g.until_at, g.expires_at), reason = CASE WHEN reason = 'resend' THEN reason ELSE g.verdict END FROM gate g "
            "WHERE outbox.id = g.id AND g.until_at IS NOT NULL AND outbox.id IN (SELECT id FROM gate WHERE until_at IS NOT NULL)"
        )
        over = "verdict IS NOT NULL AND until_at IS NULL"
        # Where the journey ended only just now, the message was taken back with it and bears the reason.
        self._execute(
            f"UPDATE outbox SET {settled(CANCELLED)}, reason = 'gone' "
            "WHERE state = 0 AND id IN (SELECT id FROM gate WHERE verdict = 'gone')"
        )
        skipped = self._execute(
            f"UPDATE outbox SET {settled(SKIPPED)}, reason = (SELECT g.verdict FROM gate g WHERE g.id = outbox.id) "
            f"WHERE id IN (SELECT id FROM gate WHERE {over} AND verdict != 'gone')"
        )
        # The + keeps the planner from reading all that are in flight, by an index that holds only those.
        self._execute(
            f"UPDATE enrollments SET due_at = :now WHERE id IN (SELECT eid FROM gate WHERE {over}) AND +ended_at IS NULL AND until_at IS NOT NULL"
        )
        return Gated(held=held, skipped=skipped, cancelled=gone, rerouted=rerouted)


def _fail(which: str, sql: str) -> str:
    """The rows of `gate` of which a condition compiled over `c` and `w` does not hold: `gate` has the columns of `w` under the same names.

    As one list: asked of each row by itself, SQLite opens all tables of the condition anew for each. The condition depends on `w`, if only
    on its id: for one of `c` alone SQLite may make a Bloom filter first, which reads all contacts.
    """
    return (
        f"g.id IN (SELECT w.id FROM {_W} w LEFT JOIN contacts c ON c.id = w.contact_id "
        f"WHERE w.verdict IS NULL AND {which} AND (w.id AND ({sql})) IS NOT TRUE)"
    )
