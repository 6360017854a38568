"""Scores in a tick: points for new facts, each counted once in the ledger; the number field and its tier follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowctl.store.fields import quoted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from flowctl.engine.slices import Slice

_SCORING = "CREATE TEMP TABLE IF NOT EXISTS scoring (id INTEGER PRIMARY KEY, contact_id INTEGER NOT NULL, at INTEGER NOT NULL, cause TEXT NOT NULL)"
_RESCORED = "CREATE TEMP TABLE IF NOT EXISTS rescored (contact_id INTEGER PRIMARY KEY, old, new, at INTEGER NOT NULL)"


@dataclass(kw_only=True)
class Scoring:
    """The scores of a release, for one look."""

    slice_: Slice
    scores: Sequence[Mapping[str, Any]]

    @property
    def connection(self) -> sqlite3.Connection:
        """The store's."""
        return self.slice_.connection

    def follow(self) -> int:
        """Give tiers to new contacts, and to those whose number was changed by others; returns how many changes were written."""
        written, facts = 0, self.slice_.facts
        for score in self.scores:
            if not score["tier"]:
                continue
            if facts.contacts:
                self._tier(score, "SELECT id AS contact_id, at FROM fact_contacts", noted=False)
            if score["name"] in facts.fields:
                written += self._tier(
                    score, "SELECT contact_id, max(at) AS at FROM fact_changes WHERE field = :score GROUP BY contact_id"
                )
        return written

    def score(self) -> int:
        """Write the points of new facts and let numbers and tiers follow; returns how many changes were written."""
        return sum(self._score(score) for score in self.scores)

    def _score(self, score: Mapping[str, Any]) -> int:
        connection, name = self.connection, score["name"]
        rules = [(rule, each) for rule, each in score["rules"].items() if self._counts(each["of"])]
        if not rules:
            return 0
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM score_ledger").fetchone()
        row = connection.execute("SELECT value FROM cursors WHERE name = ?", (f"score:{name}",)).fetchone()
        facts = self.slice_.facts
        said = {
            "score": name,
            "since": row[0] if row else 0,
            "transitions_from": facts.transitions_from,
            "now": facts.t1,
        }
        for rule, each in rules:
            self._rule(rule, each, said)
        (newest,) = connection.execute("SELECT coalesce(max(id), 0) FROM score_ledger").fetchone()
        if newest == last:
            return 0
        points = f"SELECT contact_id, sum(points) AS points, max(at) AS at FROM score_ledger WHERE id > {last} AND score = :score GROUP BY +contact_id"
        column = f"c.{quoted(name)}"
        value = bounded(score, f"coalesce({column}, {score['default']!r}) + x.points")
        written = self._change(
            score,
            name,
            f"SELECT c.id, {column}, {value}, x.at FROM ({points}) x CROSS JOIN contacts c ON c.id = x.contact_id",
        )
        if score["tier"]:
            written += self._tier(score, f"SELECT contact_id, at FROM ({points})")
        return written

    def _counts(self, of: Sequence[Any]) -> bool:
        """Whether there are new facts of the kind that a rule counts."""
        kind, which = of
        facts = self.slice_.facts
        match kind:
            case "event":
                return bool(facts.types) if which is None else which in facts.types
            case "change":
                return which in facts.fields
            case "transition":
                return which in self.slice_.crossed()
            case _:
                return any(status == which for _, status in facts.outcomes)

    def _rule(self, rule: str, each: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        params = {**said, "rule": rule, "points": each["points"]}
        used = "EXISTS (SELECT 1 FROM score_ledger l WHERE l.contact_id = x.contact_id AND l.score = :score AND l.rule = :rule AND l.cause = x.cause)"
        if "limit" not in each:
            self.connection.execute(
                "INSERT INTO score_ledger (contact_id, score, rule, points, at, cause) "
                f"SELECT x.contact_id, :score, :rule, :points, x.at, x.cause FROM ({each['facts']}) x WHERE NOT {used} ORDER BY x.at, x.id",
                params,
            )
            return
        self.connection.execute(_SCORING)
        self.connection.execute("DELETE FROM scoring")
        self.connection.execute(
            f"INSERT INTO scoring (contact_id, at, cause) SELECT x.contact_id, x.at, x.cause FROM ({each['facts']}) x WHERE NOT {used} ORDER BY x.at, x.id",
            params,
        )
        params |= {"count": each["limit"][0], "window": each["limit"][1]}
        while self._admit(params):
            pass

    def _admit(self, params: Mapping[str, Any]) -> int:
        """Drop what the limit leaves no room for, then take the first fact of each contact; returns how many were taken."""
        near = "l.contact_id = scoring.contact_id AND l.score = :score AND l.rule = :rule AND abs(l.at - scoring.at) < :window"
        self.connection.execute(
            f"DELETE FROM scoring WHERE (SELECT count(*) FROM score_ledger l WHERE {near}) >= :count", params
        )
        taken: int = self.connection.execute(
            "INSERT INTO score_ledger (contact_id, score, rule, points, at, cause) SELECT contact_id, :score, :rule, :points, at, cause "
            "FROM scoring WHERE id IN (SELECT min(id) FROM scoring GROUP BY contact_id)",
            params,
        ).rowcount
        self.connection.execute("DELETE FROM scoring WHERE id IN (SELECT min(id) FROM scoring GROUP BY contact_id)")
        return taken

    def _tier(self, score: Mapping[str, Any], who: str, *, noted: bool = True) -> int:
        name = f"{score['name']}_tier"
        rows = f"SELECT c.id, c.{quoted(name)}, {score['tier']}, x.at FROM ({who}) x CROSS JOIN contacts c ON c.id = x.contact_id"
        return self._change(score, name, rows, noted=noted)

    def _change(self, score: Mapping[str, Any], field: str, rows: str, *, noted: bool = True) -> int:
        """Give a field new values from a `SELECT contact_id, old, new, at`, with the changes that triggers and segments see."""
        connection = self.connection
        connection.execute(_RESCORED)
        connection.execute("DELETE FROM rescored")
        connection.execute(f"INSERT INTO rescored {rows}", {"score": score["name"]})
        connection.execute("DELETE FROM rescored WHERE old IS new")
        changed: int = connection.execute(
            f"UPDATE contacts SET {quoted(field)} = (SELECT x.new FROM rescored x WHERE x.contact_id = contacts.id) "
            "WHERE id IN (SELECT contact_id FROM rescored)"
        ).rowcount
        if noted and changed:
            connection.execute(
                "INSERT INTO contact_changes (contact_id, field, old, new, at) SELECT contact_id, ?, old, new, at FROM rescored ORDER BY at, contact_id",
                (field,),
            )
        return changed


def bounded(score: Mapping[str, Any], value: str) -> str:
    """SQL of a number kept within a score's bounds, in the type of its field."""
    if score["min"] is not None:
        value = f"max({value}, {score['min']!r})"
    if score["max"] is not None:
        value = f"min({value}, {score['max']!r})"
    return f"CAST(round({value}) AS INTEGER)" if score["integer"] else value


def begin(connection: sqlite3.Connection, scores: Sequence[Mapping[str, Any]], now: int) -> None:
    """At apply: from `now` (UTC ms) on facts count for a score that is new; tiers are set for everybody, which is no change of a field."""
    for score in scores:
        connection.execute(
            "INSERT INTO cursors (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
            (f"score:{score['name']}", now),
        )
        if score["tier"]:
            column = quoted(f"{score['name']}_tier")
            connection.execute(
                f"UPDATE contacts AS c SET {column} = {score['tier']} WHERE {column} IS NOT {score['tier']}"
            )
