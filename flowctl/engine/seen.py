"""What a decision looked at: the values worth keeping beside the way it took, as SQL, and the question as it was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions import KINDS, event, unsupported
from flowctl.engine.conditions.comparison import sources
from flowctl.engine.conditions.literal import identifier, json_path, literal
from flowctl.engine.conditions.scope import Frame
from flowctl.engine.conditions.values import DOCUMENTS
from flowctl.language.conditions import (
    SUBJECTS,
    DataLeaf,
    EventLeaf,
    FieldLeaf,
    InputLeaf,
    MessageLeaf,
    ReachableLeaf,
    SurveyLeaf,
    TriggerLeaf,
    WorkflowLeaf,
    leaves,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Scope
    from flowctl.language.conditions import Condition, Leaf
    from flowctl.language.model import Model
    from flowctl.language.values import From

VALUES_MAX = 60  # SQLite's functions take 127 arguments


def seen_pairs(condition: Condition, scope: Scope) -> str:
    """SQL of the arguments of a `json_object`: what each leaf looked at; '' where the answer itself tells all.

    Fields and what came with the trigger by their values, counts and sums as numbers; of several leaves each other one by its answer.
    Over `c`, and `w` inside a workflow.
    """
    if unsupported(condition, scope):
        return ""
    frame = Frame(scope=scope)
    every = list(leaves(condition))
    found: dict[str, str] = {}
    for leaf in every:
        for name, sql in _looked_at(leaf, frame, alone=len(every) == 1):
            found.setdefault(name, sql)
    return ", ".join(f"{literal(name)}, {sql}" for name, sql in list(found.items())[:VALUES_MAX])


def written(said: Model) -> str:
    """A condition or a trigger as its file might say it, in one line of YAML."""
    return _flow(said.model_dump(mode="json", by_alias=True, exclude_unset=True))


def _looked_at(leaf: Leaf, frame: Frame, *, alone: bool) -> Iterator[tuple[str, str]]:
    match leaf:
        case FieldLeaf():
            yield leaf.field, f"c.{identifier(leaf.field)}"
        case TriggerLeaf() | DataLeaf() | InputLeaf():
            asked = getattr(leaf, leaf.subject)
            for path in asked:
                yield f"{leaf.subject}.{path}", _in_document(leaf.subject, path)
        case EventLeaf() if leaf.count is not None or leaf.sum_ is not None or leaf.last is not None:
            yield from event.measured(leaf, frame)
        case _ if not alone:
            holds = KINDS[leaf.subject].sql(leaf, frame, negated=False)
            yield _named(leaf), f"json(CASE WHEN {holds} THEN 'true' ELSE 'false' END)"
    for source in _sources(leaf):
        root, _, path = source.from_.partition(".")
        if root == "contact":
            yield path, f"c.{identifier(path)}"
        elif root in DOCUMENTS and frame.scope.enrollment:
            yield source.from_, _in_document(root, path)


def _in_document(root: str, path: str) -> str:
    document, prefix = DOCUMENTS[root]
    return f"json_extract({document}, {json_path(prefix + path)})"


def _sources(leaf: Leaf) -> list[From]:
    """What the leaf compares with that is not written out."""
    match leaf:
        case FieldLeaf():
            return sources(leaf)
        case EventLeaf():
            return [found for asked in [*leaf.where.values(), *(leaf.last or {}).values()] for found in sources(asked)]
        case TriggerLeaf() | DataLeaf() | InputLeaf():
            return [found for asked in getattr(leaf, leaf.subject).values() for found in sources(asked)]
    return []


def _named(leaf: Leaf) -> str:
    """A leaf by its subject and what tells it from others."""
    match leaf:
        case WorkflowLeaf():
            return f"workflow {leaf.workflow} {leaf.state}"
        case MessageLeaf():
            return f"message {leaf.message} {leaf.status}"
        case ReachableLeaf():
            return f"reachable {leaf.reachable.channel}"
        case SurveyLeaf():
            return f"survey {leaf.survey} {leaf.state or leaf.question or 'answer'}"
    about = getattr(leaf, leaf.subject)
    return f"{leaf.subject} {about}" if isinstance(about, str) else leaf.subject


def _flow(value: Any) -> str:
    """JSON's types as flow YAML; what needs quotes has JSON's."""
    match value:
        case dict():
            inner = sorted(
                value.items(), key=lambda pair: pair[0] not in SUBJECTS
            )  # the subject first, as people write it
            return "{" + ", ".join(f"{key}: {_flow(said)}" for key, said in inner) + "}"
        case list():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case str() if value and all(sign.isalnum() or sign in "_-. " for sign in value):
            return value
    return json.dumps(value, ensure_ascii=False)
