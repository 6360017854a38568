"""What started a journey, compared in random trees: SQL agrees with plain Python, also where values are unknown or of another type."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from flowctl.engine.conditions import sql
from flowctl.engine.conditions.scope import Scope
from flowctl.language.conditions import Condition

SCOPE = Scope(
    field_types={"n": "number", "t": "text"},
    event_types={},
    event_properties={},
    segments={},
    messages={},
    channels={},
    zone=1,
    enrollment=True,
)
ADAPTER = TypeAdapter(Condition)
ABSENT = object()
VALUES = st.sampled_from([ABSENT, None, 0, 1, 2, 2.5, -1, "", "a", "ab", "2", True, False, [1], {"k": 1}])
NUMBERS, TEXTS = st.sampled_from([0, 1, 2, 2.5]), st.sampled_from(["a", "ab", "2", ""])
ASKED = st.one_of(
    st.builds(lambda op, n: {op: n}, st.sampled_from(["is", "is_not", "gt", "gte", "lt", "lte"]), NUMBERS),
    st.builds(lambda op, t: {op: t}, st.sampled_from(["is", "is_not", "contains", "starts_with"]), TEXTS),
    st.builds(lambda op, ns: {op: ns}, st.sampled_from(["in", "not_in"]), st.lists(NUMBERS, min_size=1, max_size=3)),
    st.builds(lambda op, ts: {op: ts}, st.sampled_from(["in", "not_in"]), st.lists(TEXTS, min_size=1, max_size=3)),
    st.builds(lambda a, b: {"between": [min(a, b), max(a, b)]}, NUMBERS, NUMBERS),
    st.builds(lambda yes: {"known": yes}, st.booleans()),
    st.builds(lambda op: {op: {"from": "contact.n"}}, st.sampled_from(["is", "is_not", "gt", "lte"])),
)
LEAVES = st.one_of(
    st.builds(lambda root, path, asked: {root: {path: asked}}, st.sampled_from(["trigger", "data", "input"]), st.sampled_from(["x", "y"]), ASKED),
    st.builds(lambda asked: {"trigger": {"x": asked[0], "y": asked[1]}}, st.tuples(ASKED, ASKED)),
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"all": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=6,
)
DOCUMENTS = st.fixed_dictionaries({"x": VALUES, "y": VALUES})


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def compare(name: str, value: Any, wanted: Any, number: float | None) -> bool:
    """One operator, two-valued."""
    if name == "known":
        return (value is not None) == wanted
    if name in ("is_not", "not_in"):
        return not compare({"is_not": "is", "not_in": "in"}[name], value, wanted, number)
    if isinstance(wanted, dict):
        wanted = number
    if value is None or wanted is None:
        return False
    if name == "in":
        return any(compare("is", value, one, number) for one in wanted)
    if name == "between":
        return compare("gte", value, wanted[0], number) and compare("lte", value, wanted[1], number)
    if is_number(wanted) != is_number(value) or isinstance(value, bool | list | dict):
        return False
    match name:
        case "is":
            return bool(value == wanted)
        case "contains":
            return wanted in value
        case "starts_with":
            return bool(value.startswith(wanted))
    return bool({"gt": value > wanted, "gte": value >= wanted, "lt": value < wanted, "lte": value <= wanted}[name])


def holds(tree: dict[str, Any], documents: dict[str, dict[str, Any]], number: float | None) -> bool:
    """The plain meaning of a tree."""
    ((subject, inner),) = tree.items()
    match subject:
        case "all":
            return all(holds(part, documents, number) for part in inner)
        case "any":
            return any(holds(part, documents, number) for part in inner)
        case "not":
            return not holds(inner, documents, number)
    found = documents[subject]
    return all(
        compare(name, None if found[path] is ABSENT else found[path], wanted, number)
        for path, asked in inner.items()
        for name, wanted in asked.items()
    )


@settings(max_examples=200, deadline=None)
@given(tree=TREES, trigger=DOCUMENTS, data=DOCUMENTS, given_=DOCUMENTS, number=st.sampled_from([None, 1, 2.5]))
def test_sql_is_two_valued_as_python_is(tree, trigger, data, given_, number):
    documents = {"trigger": trigger, "data": data, "input": given_}
    said = {
        name: {key: value for key, value in document.items() if value is not ABSENT}
        for name, document in documents.items()
    }
    text = sql(ADAPTER.validate_python(tree), SCOPE)
    connection = sqlite3.connect(":memory:")
    row = {"trigger": json.dumps(said["trigger"]), "data": json.dumps({**said["data"], "input": said["input"]})}
    (found,) = connection.execute(
        f"SELECT ({text}) IS TRUE FROM (SELECT 1 AS id, :number AS n, NULL AS t) c, (SELECT :trigger AS trigger, :data AS data) w",
        {**row, "number": number, "now": 0},
    ).fetchone()
    connection.close()
    assert bool(found) == holds(tree, documents, number), text
