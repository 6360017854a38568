"""FLO002 dangling-branch: a branch just ends where the others continue.

## What it does

Looks at decisions with nothing behind them (`if`, `choose`, `wait_for`, `task`): where one branch goes on for some time and
another one that was written out simply stops, without `exit`, it reports the last step of the one that stops. A branch that is
not written at all, a branch that ends by handing over with `start`, and the paths of a `split` (an arm may well be shorter)
are left alone.

## Why is this bad

A reader cannot tell a deliberate end from a forgotten one, and `flowctl report` can only call it "completed".

## Example

```yaml
- if: {reachable: push}
  then:
    - send: app-news
  else:
    - send: news
    - wait: 2d
    - send: news-again
```

## Use instead

```yaml
- if: {reachable: push}
  then:
    - send: app-news
    - exit: told-by-push
  else:
    - send: news
    - wait: 2d
    - send: news-again
```

## Options

None.

## Source

Canvas editors demand an end node on each branch for the same reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Fix, Problem, Related
from flowctl.language.steps import ChooseStep, IfStep, RepeatStep, StartStep, TaskStep, WaitForStep, branches, walk
from flowctl.lint.edits import step_added
from flowctl.lint.steps import TAKING_TIME, falls_through, goes_on, said, spot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.problem import Severity
    from flowctl.language.steps import Step
    from flowctl.lint.context import Context, Journey

CODE = "FLO002"
SLUG = "dangling-branch"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """The last step of every branch that just ends."""
    for journey in context.journeys:
        yield from _in_tail(journey, journey.workflow.steps, context)


def _in_tail(journey: Journey, steps: Sequence[Step], context: Context) -> Iterator[Problem]:
    """Findings in a list of steps behind which the journey ends."""
    if not steps or isinstance(steps[-1], RepeatStep):
        return
    last = steps[-1]
    inner = [branch for _, branch in branches(last)]
    for branch in inner:
        if isinstance(last, IfStep | ChooseStep | WaitForStep | TaskStep) and _dangles(branch):
            other = next((one for one in inner if one is not branch and goes_on(one)), None)
            if other is not None:
                going_on = next(step for step in walk(other) if step.verb in TAKING_TIME)
                yield _finding(journey, branch[-1], going_on, _exit_added(branch[-1], context))
        yield from _in_tail(journey, branch, context)


def _dangles(branch: Sequence[Step]) -> bool:
    return (
        bool(branch)
        and not goes_on(branch)
        and falls_through(branch)
        and not isinstance(branch[-1], StartStep)
        and not branches(branch[-1])
    )


def _exit_added(end: Step, context: Context) -> Fix | None:
    """Nothing changes: who comes to the end of a branch here leaves the journey anyway."""
    source = context.project.sources.get(end.place.path)
    edit = step_added(end.node, "exit: done", source) if end.node and source is not None else None
    return Fix(title="add `exit: done`", edits=(edit,), safe=True) if edit else None


def _finding(journey: Journey, end: Step, other: Step, fix: Fix | None) -> Problem:
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=f"this branch just ends behind {said(end)}, where another goes on",
        place=spot(end),
        label="the journey ends here",
        related=(Related(place=spot(other), label="others go on here"),),
        help="say that this is meant, in a word that reports will show: `- exit: done`",
        fix=fix,
        step=journey.label(end),
    )
