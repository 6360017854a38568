"""PRS003 unbounded-pressure: nothing bounds how many messages a contact can be sent.

## What it does

Reports a workflow that can send marketing messages to one contact again and again in no time: because its trigger restarts it
(`while_active: restart`) while somebody rests behind a send that needs no wait, or because its runs go side by side
(`while_active: parallel`) without a gap since entry, or for so long that nothing bounds how many there are. With a `key` that
is a warning: it takes a second fact of the same key. A message with `once:` is not counted: it spaces itself.

## Why is this bad

How often a trigger comes is up to whoever sends the events. A page that reloads, an import that runs twice, and a contact has
forty mails; the cap may hold them, but then it is the cap that decides what people get.

## Example

```yaml
triggers: [{event: cart_updated}]
reentry: {while_active: restart}
steps:
  - send: cart-reminder
  - wait: 2d
```

## Use instead

```yaml
triggers: [{event: cart_updated}]
reentry: {while_active: restart}
steps:
  - wait: 2h
  - send: cart-reminder
  - wait: 2d
```

## Options

None.

## Source

A digraph with a cycle of length zero through a job has no arrival curve; see PRS001.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related
from flowctl.lint.bounds import CHANNELS
from flowctl.lint.pressure import distances
from flowctl.lint.steps import spot, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.language.steps import Step
    from flowctl.lint.bounds import Bound
    from flowctl.lint.context import Context, Journey
    from flowctl.program.graph import Node

CODE = "PRS003"
SLUG = "unbounded-pressure"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """Every workflow without a finite bound, with the round it can go."""
    for journey in context.journeys:
        pressure = journey.pressure
        found = pressure.bound(CHANNELS) if pressure is not None and not pressure.is_too_large else None
        if found is not None and found.is_unbounded:
            yield _side_by_side(journey, found) if found.is_side_by_side else _round(journey, found)


def _round(journey: Journey, found: Bound) -> Problem:
    nodes = sorted(found.cycle, key=lambda node: node.place)
    first, step = nodes[0], _step(nodes[0])
    rest = _resting_place(found, nodes[-1])
    related = (
        (Related(place=spot(rest), label="whoever rests here is sent back to the start"),) if rest is not None else ()
    )
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=f"no bound: each time the trigger comes, one contact is sent `{first.name}` again",
        place=first.place,
        label="no time before this",
        related=related,
        detail=(
            "the round that takes no time:",
            *(f"   +0:00    {journey.name}/{node.name}  {node.place}" for node in nodes),
            *([f"   +0:00    {told(rest)}, where time passes"] if rest is not None else []),
            f"   trigger  {journey.name} begins again (`while_active: restart`)",
        ),
        help=f"put a `wait` before `{first.name}`, use `while_active: ignore`, or say in the message how often: `once: 7d`",
        step=journey.label(step) if step is not None else journey.name,
    )


def _side_by_side(journey: Journey, found: Bound) -> Problem:
    node = min((found.graph.nodes[index] for index in found.sends), key=lambda node: node.place)
    step = _step(node)
    spaced = "keep them apart: `reentry: {after: 1d, since: entry, while_active: parallel}`, with time-outs on all that waits"
    each = f"write `while_active: ignore`: one run at a time for each `{found.key}`; or {spaced}"
    alone = f"say which runs are different with `key: trigger.…` and `while_active: ignore`, or {spaced}"
    beside = f", for one `{found.key}` too" if found.key else ""
    return Problem(
        code=CODE,
        slug=SLUG,
        severity="warning" if found.key else SEVERITY,
        confidence="possible" if found.key else "proved",
        message=f"no bound: runs of `{journey.name}` go side by side{beside}, and nothing keeps them apart",
        place=journey.workflow.reentry.place_of("while_active"),
        related=(Related(place=node.place, label="each of them sends this"),),
        help=each if found.key else alone,
        step=journey.label(step) if step is not None else journey.name,
    )


def _resting_place(found: Bound, last: Node) -> Step | None:
    """A step reached in no time behind the last send, where the trigger can send somebody back."""
    graph = found.graph
    index = next(index for index, node in enumerate(graph.nodes) if node is last)
    origins = {origin for origin, _ in graph.comeback_arrows}
    behind = {index: 0} | distances(graph.arrows, index)
    at_once = [node for node, apart_ms in behind.items() if apart_ms == 0 and node in origins]
    return _step(graph.nodes[min(at_once)]) if at_once else None


def _step(node: Node) -> Step | None:
    return node.instruction.step if node.instruction is not None else None
