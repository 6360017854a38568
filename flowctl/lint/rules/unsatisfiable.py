"""AUD002 unsatisfiable: a condition that can never hold, or always does.

## What it does

Reports contradictions inside a condition: under `all` a field that is to be two things, or above 50 and below 20; a question and its opposite; `is: x` beside `known: false`.
Under `any` a question and its opposite, which always holds. Conditions of segments, audiences, steps, exits and goals are looked at.

## Why is this bad

A segment that nobody can enter looks like a quiet week. An exclusion that always holds excludes everybody.

## Example

```yaml
segment: almost-vip
match:
  all:
    - {field: engagement, gte: 50}
    - {field: engagement, lt: 20}
```

## Use instead

```yaml
segment: almost-vip
match: {field: engagement, between: [20, 50]}
```

## Options

None.

## Source

Two-valued logic: each field has one value, or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.language.conditions import AllOf, AnyOf, FieldLeaf, Not
from flowctl.language.problem import Problem, Related

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.conditions import Condition
    from flowctl.language.model import Model
    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "AUD002"
SLUG = "unsatisfiable"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """Every contradiction."""
    for owner, condition in _conditions(context):
        yield from _in(condition, owner)


def _conditions(context: Context) -> Iterator[tuple[str, Condition]]:
    """Every condition of the project, with what a baseline knows its owner by."""
    for segment in context.project.segments.values():
        yield segment.name, segment.match
    for journey in context.journeys:
        workflow = journey.workflow
        if workflow.audience is not None:
            yield journey.name, workflow.audience
        if workflow.goal is not None:
            yield journey.name, workflow.goal.condition
        for condition in workflow.exit_when:
            yield journey.name, condition
        for step, condition in journey.questions:
            yield journey.label(step), condition


def _in(condition: Condition, owner: str) -> Iterator[Problem]:
    match condition:
        case AllOf():
            yield from _contradictions(condition, owner)
            for part in condition.all_:
                yield from _in(part, owner)
        case AnyOf():
            pair = _opposites(condition.any_)
            if pair is not None:
                yield _finding(pair, "one of the two always holds, and so does the whole", owner)
            for part in condition.any_:
                yield from _in(part, owner)
        case Not():
            yield from _in(condition.not_, owner)
        case _:
            pass


def _contradictions(condition: AllOf, owner: str) -> Iterator[Problem]:
    pair = _opposites(condition.all_)
    if pair is not None:
        yield _finding(pair, "the two never hold together", owner)
    by_field: dict[str, list[FieldLeaf]] = {}
    for part in condition.all_:
        if isinstance(part, FieldLeaf):
            by_field.setdefault(part.field, []).append(part)
    for name, parts in by_field.items():
        earlier = _Values()
        for part in parts:
            if not earlier.meets(part):
                yield _finding((parts[0], part), f"no `{name}` is both", owner)
                break


def _opposites(parts: list[Condition]) -> tuple[Model, Model] | None:
    """A question and its `not` among others."""
    denied = [part for part in parts if isinstance(part, Not)]
    for part in parts:
        for other in denied:
            if other.not_ == part:
                return part, other
    return None


@dataclass(slots=True)
class _Values:
    """What a field's value can still be, after some comparisons with fixed values."""

    low: float = float("-inf")
    high: float = float("inf")
    low_is_out: bool = False
    high_is_out: bool = False
    among: set[object] | None = None
    is_known: bool | None = None

    def meets(self, leaf: FieldLeaf) -> bool:
        """Take a comparison in; whether any value is left."""
        return all(self._meets(name, value) for name, value in leaf.operators().items())

    def _meets(self, name: str, value: object) -> bool:
        match name:
            case "known":
                if self.is_known is not None and self.is_known != value:
                    return False
                self.is_known = bool(value)
            case "is" if isinstance(value, str | int | float):
                return self._is_among({value})
            case "in" if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
                return self._is_among(set(value))
            case "gt" | "gte" if isinstance(value, int | float):
                self.low, self.low_is_out = max((self.low, self.low_is_out), (value, name == "gt"))
            case "lt" | "lte" if isinstance(value, int | float):
                if (value, name != "lt") < (self.high, not self.high_is_out):
                    self.high, self.high_is_out = value, name == "lt"
            case "between" if isinstance(value, list) and all(isinstance(one, int | float) for one in value):
                return self._meets("gte", value[0]) and self._meets("lte", value[1])
            case _:
                return True
        return self._is_left()

    def _is_among(self, values: set[object]) -> bool:
        self.among = values if self.among is None else self.among & values
        if self.is_known is False:
            return False
        self.is_known = True
        return self._is_left()

    def _is_left(self) -> bool:
        if self.is_known is False and (self.among is not None or self.low > float("-inf") or self.high < float("inf")):
            return False
        if self.among is not None:
            return any(
                not isinstance(value, int | float) or isinstance(value, bool) or self._holds(value)
                for value in self.among
            )
        return self.low < self.high or (self.low == self.high and not self.low_is_out and not self.high_is_out)

    def _holds(self, value: float) -> bool:
        above = value > self.low or (value == self.low and not self.low_is_out)
        return above and (value < self.high or (value == self.high and not self.high_is_out))


def _finding(pair: tuple[Model, Model], why: str, owner: str) -> Problem:
    first, second = pair
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=f"this cannot be meant: {why}",
        place=second.place,
        related=(Related(place=first.place, label="the other"),),
        help="delete one of the two, or put them under `any:` where either is enough",
        step=owner,
    )
