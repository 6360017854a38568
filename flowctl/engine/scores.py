"""Scoring models as SQL: which facts of a look a rule counts, and which tier a number reaches."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions import survey
from flowctl.engine.conditions.comparison import comparison_sql
from flowctl.engine.conditions.event import sql as event_sql
from flowctl.engine.conditions.event import where_sql
from flowctl.engine.conditions.literal import identifier, literal
from flowctl.engine.conditions.message import ANY, STATUSES
from flowctl.engine.conditions.message import sql as message_sql
from flowctl.engine.conditions.scope import Frame, Scope
from flowctl.engine.conditions.values import Operand
from flowctl.language.conditions import EventLeaf, FieldLeaf, MessageLeaf, SurveyLeaf
from flowctl.language.score import Enters, Exits

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.language.score import Rule, Score

# A condition at the time of a fact rather than of the look; what stands between quotes is a value.
_NOW = re.compile(r"'(?:[^']|'')*'|:now\b")


def compiled(score: Score, compiler: Compiler) -> dict[str, Any]:
    """What a tick needs of a score, as JSON; rules that cannot be run are refused where they stand."""
    rules: dict[str, dict[str, Any]] = {}
    for rule in score.rules:
        facts = _facts(rule, score, compiler)
        if facts is None:
            continue
        name = _name(rule)
        while name in rules:  # the same rule twice counts twice
            name += "'"
        rules[name] = {"facts": facts, "of": _of(rule, compiler.scope), "points": rule.add}
        if rule.limit is not None:
            rules[name]["limit"] = [rule.limit.count, rule.limit.per.elapsed_ms]
    tiers = sorted((points, name) for tier in score.tiers for name, points in tier.items())
    return {
        "name": score.name,
        "default": compiler.default_number(score.name),
        "integer": compiler.project.field_types[score.name] == "integer",
        "min": score.min,
        "max": score.max,
        "rules": rules,
        "tier": _tier_sql(score.name, tiers) if tiers else None,
    }


def _name(rule: Rule) -> str:
    """The rule's own words, short, and a digest of all of them: points and limit may change without making it another."""
    said = rule.when.model_dump_json(by_alias=True, exclude_defaults=True)
    subject = next(key for key in ("event", "message", "survey", "field", "enters", "exits") if hasattr(rule.when, key))
    return f"{subject} {getattr(rule.when, subject)} #{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def _tier_sql(name: str, tiers: list[tuple[float, str]]) -> str:
    cases = " ".join(
        f"WHEN c.{identifier(name)} >= {literal(points)} THEN {literal(tier)}" for points, tier in reversed(tiers)
    )
    return f"CASE {cases} END"


def _of(rule: Rule, scope: Scope) -> list[Any]:
    """The kind of fact that a rule counts, and which: without such facts in a look it is not asked. None: any of the kind."""
    when = rule.when
    match when:
        case EventLeaf():
            return ["event", scope.event_types[when.event]]
        case MessageLeaf():
            return ["status", STATUSES[when.status]]
        case SurveyLeaf():
            return ["status", STATUSES["sent"]] if when.state == "sent" else ["event", None]
        case FieldLeaf():
            return ["change", when.field]
        case Enters():
            return ["transition", scope.segments[when.enters]]
        case Exits():
            return ["transition", scope.segments[when.exits]]


def _facts(rule: Rule, score: Score, compiler: Compiler) -> str | None:
    """SQL of the facts of a look that a rule counts: contact_id, at, cause; None where it is refused."""
    when, scope = rule.when, compiler.scope
    match when:
        case EventLeaf():
            asked = [f"f.type = {scope.event_types[when.event]:d}", *_of_event(when, scope)]
            return _select("event", "fact_events f", asked)
        case MessageLeaf():
            which = "1" if when.message == ANY else f"f.message = {scope.messages[when.message]:d}"
            asked = [which, f"f.status = {STATUSES[when.status]:d}"]
            if when.link is not None:
                asked.append(f"f.link = {literal(when.link)}")
            if when.count is not None:
                asked.append(
                    _then(
                        message_sql(
                            when.model_copy(update={"since": when.since or "ever"}), Frame(scope=scope), negated=False
                        )
                    )
                )
            return _select("status", "fact_statuses f", asked)
        case SurveyLeaf():
            return _of_survey(when, compiler)
        case FieldLeaf():
            if when.field in (score.name, f"{score.name}_tier"):
                compiler.refuse(
                    when, f"a rule of `{score.name}` cannot follow `{when.field}`: it would feed itself", "field"
                )
                return None
            return _select("change", "fact_changes f", _of_field(when, scope))
        case Enters():
            number, entered = scope.segments[when.enters], 1
        case Exits():
            number, entered = scope.segments[when.exits], 0
    asked = ["f.id > :transitions_from", f"+f.segment_id = {number:d}", f"f.entered = {entered}", "f.existing = 0"]
    return _select("transition", "transitions f", asked)


def _select(cause: str, source: str, asked: list[str]) -> str:
    return f"SELECT f.contact_id, f.at, f.id, '{cause}:' || f.id AS cause FROM {source} WHERE f.at > :since AND {' AND '.join(asked)}"


def _then(sql: str) -> str:
    """A condition on a contact as it was at the time of the fact `f`."""
    at_fact = _NOW.sub(lambda found: "f.at" if found[0] == ":now" else found[0], sql)
    return f"EXISTS (SELECT 1 FROM contacts c WHERE c.id = f.contact_id AND ({at_fact}))"


def _of_event(when: EventLeaf, scope: Scope) -> list[str]:
    asked = []
    if when.where:
        asked.append(_then(where_sql("f.props", when.where, scope.event_properties[when.event], Frame(scope=scope))))
    if when.count is not None or when.sum_ is not None or when.last is not None or when.between is not None:
        windowed = when if when.between is not None else when.model_copy(update={"since": when.since or "ever"})
        asked.append(_then(event_sql(windowed, Frame(scope=scope), negated=False)))
    return asked


def _of_field(when: FieldLeaf, scope: Scope) -> list[str]:
    """A change that makes the comparison true."""
    type_, frame = scope.field_types[when.field], Frame(scope=scope)
    new, old = (comparison_sql(Operand(sql=f"f.{side}", type=type_), when, frame) for side in ("new", "old"))
    became = f"({new}) AND ({old}) IS NOT TRUE"
    return [f"f.field = {literal(when.field)}", _then(became)]


def _of_survey(when: SurveyLeaf, compiler: Compiler) -> str | None:
    frame = Frame(scope=replace(compiler.scope, enrollment=False))
    if when.state == "unanswered":
        compiler.refuse(when, "not to answer is no fact that could score", "state")
        return None
    if when.state == "sent":
        numbers = ", ".join(map(str, compiler.scope.survey_messages.get(when.survey, ()))) or "NULL"
        return _select("status", "fact_statuses f", [f"f.status = {STATUSES['sent']}", f"f.message IN ({numbers})"])
    asked = [
        f"s.survey = {literal(when.survey)}",
        "s.answers IS NULL" if when.state == "opened" else "s.answers IS NOT NULL",
    ]
    if when.answer is not None:
        asked.append(_then(survey.answer_sql(when, frame)))
    return _select("event", "fact_events f JOIN survey_answers s ON s.id = f.id", asked)
