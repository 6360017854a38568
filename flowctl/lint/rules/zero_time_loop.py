"""FLO004 zero-time-loop: workflows start each other round and round, and no time passes.

## What it does

Follows `start` steps that run without any wait before them, from workflow to workflow (and to itself), and reports a round
that comes back to where it began. A `wait_for` and a `task` need somebody to act and break the round; a `wait_until`
whose time has come passes at once and does not. Inside one workflow no such loop can be written: `repeat` always takes
its `every`.

## Why is this bad

A tick would go round until its limit stops it, and every message on the way would leave again and again. Where the
`reentry` of one of them stops the round today, the second start is refused each time, and one changed line makes it real.

## Example

```yaml
workflow: day
steps:
  - start: night
```
```yaml
workflow: night
steps:
  - start: day
```

## Use instead

```yaml
workflow: day
steps:
  - wait: 12h
  - start: night
```

## Options

None.

## Source

engine.md: "a cycle without time is a lint and apply error".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related
from flowctl.language.steps import StartStep
from flowctl.lint.steps import spot
from flowctl.program.paths import least_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context, Journey
    from flowctl.program.instructions import Instruction

CODE = "FLO004"
SLUG = "zero-time-loop"
SEVERITY: Severity = "error"

Entry = tuple[str, int]
"""A workflow and the position where a start enters it."""


def check(context: Context) -> Iterator[Problem]:
    """Every round of starts without time, once."""
    if not context.starters:
        return
    journeys = {journey.name: journey for journey in context.journeys}
    starts = _Starts(journeys)
    told: set[frozenset[int]] = set()
    for name in journeys:
        for round_ in starts.rounds((name, 0)):
            steps = frozenset(id(step) for _, step in round_)
            if steps not in told:
                told.add(steps)
                yield _finding(round_)


class _Starts:
    """Which entries lead to which without time, by which step."""

    def __init__(self, journeys: dict[str, Journey]) -> None:
        self.journeys = journeys
        self.known: dict[Entry, list[tuple[StartStep, Entry]]] = {}
        self.done: set[Entry] = set()

    def rounds(self, entry: Entry) -> Iterator[list[tuple[Journey, StartStep]]]:
        """The rounds that can be reached from an entry and were not looked at yet."""
        way: list[tuple[Entry, StartStep | None]] = [(entry, None)]
        rest = [iter(self.follow(entry))]
        while way:
            following = next(rest[-1], None)
            if following is None:
                self.done.add(way.pop()[0])
                rest.pop()
                continue
            step, target = following
            begin = next((index for index, (here, _) in enumerate(way) if here == target), None)
            if begin is not None:
                by = [*(taken for _, taken in way[begin + 1 :] if taken is not None), step]
                yield [(self.journeys[here[0]], taken) for (here, _), taken in zip(way[begin:], by, strict=True)]
            elif target not in self.done:
                way.append((target, step))
                rest.append(iter(self.follow(target)))

    def follow(self, entry: Entry) -> list[tuple[StartStep, Entry]]:
        """The starts that run without time after an entry, with the entries they lead to."""
        if entry not in self.known:
            self.known[entry] = list(self._look(entry))
        return self.known[entry]

    def _look(self, entry: Entry) -> Iterator[tuple[StartStep, Entry]]:
        program = self.journeys[entry[0]].program
        seen = {entry[1]}
        pending = [entry[1]]
        while pending:
            instruction = program.instructions[pending.pop()]
            step = instruction.step
            if instruction.op == "start" and isinstance(step, StartStep) and step.start.workflow in self.journeys:
                positions = self.journeys[step.start.workflow].program.step_positions
                yield step, (step.start.workflow, positions.get(step.start.at_step or "", 0))
            for label, target in instruction.targets.items():
                if target not in seen and _is_timeless(instruction, label):
                    seen.add(target)
                    pending.append(target)


def _is_timeless(instruction: Instruction, label: str) -> bool:
    """Whether somebody can go on that way without any time, and without a person or an event."""
    return instruction.op not in ("wait_for", "task", "again") and least_ms(instruction, label) == 0


def _finding(round_: list[tuple[Journey, StartStep]]) -> Problem:
    (first, step), *others = round_
    names = [journey.name for journey, _ in round_]
    refusing = next((journey.name for journey, _ in round_ if journey.workflow.reentry.while_active == "ignore"), None)
    note = (
        f"today the `reentry` of `{refusing}` refuses the second start; nothing else stops the round"
        if refusing
        else ""
    )
    message = "starts itself" if len(round_) == 1 else "start each other"
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        confidence="possible" if refusing else "proved",
        message=f"{' and '.join(f'`{name}`' for name in names)} {message} round and round, and no time passes",
        place=spot(step),
        related=tuple(
            Related(place=spot(other), label=f"`{journey.name}` goes on to the next") for journey, other in others
        ),
        detail=(f"   {' → '.join([*names, names[0]])}",),
        help="put a `wait` before one of the `start` steps, or take one of them out",
        note=note,
        step=first.label(step),
    )
