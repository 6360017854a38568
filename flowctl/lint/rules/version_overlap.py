"""PRS009 version-overlap: contacts who finish an older version get its messages, and then those of the new one.

## What it does

Only with `--store` or `--state`. Looks at versions that the files no longer say and that still hold contacts: those finish what they
entered. Computes the worst case of the old version followed by the new one, where the contact may enter again; of a workflow whose
file is gone, the worst case of what drains. Reports it where the cap is exceeded and the new files alone would not exceed it: with the
version for its own workflow, or in the sum over all workflows that PRS002 looks at.

## Why is this bad

What `plan` shows is the new files. For as long as the old version drains, contacts live through more than that.

## Example

```yaml
workflow: onboarding      # version 1, still with 4,000 contacts, sends four mails in three days
reentry: {after: 1d}
steps:
  - send: welcome
```

## Use instead

`flowctl apply --in-flight onboarding=exit`, or carry contacts over with `move:`:

```yaml
workflow: onboarding
reentry: {after: 30d}
move: {second_mail: welcome}
steps:
  - id: welcome
    send: welcome
```

## Options

None.

## Source

The arrival curve of PRS001; versions as language.md, "Versions", has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem
from flowctl.lint.bounds import Pressure
from flowctl.lint.bounds import told as told_alone
from flowctl.lint.budgets import in_order
from flowctl.lint.combined import Sighting, told
from flowctl.lint.merging import is_a_path, merge, old_then_new

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.problem import Place, Severity
    from flowctl.language.times import Rate
    from flowctl.lint.budgets import Measure
    from flowctl.lint.context import Context, Journey
    from flowctl.lint.live import Draining

CODE = "PRS009"
SLUG = "version-overlap"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Each draining version, once: the first window that it makes too full."""
    if context.live is None:
        return
    from flowctl.lint.live import draining  # noqa: PLC0415 - it reads old releases

    by_name = {journey.name: journey for journey in context.journeys}
    for old in draining(context.live, context.project):
        if old.journey.pressure is None or old.journey.pressure.is_too_large:
            continue
        problem = _alone(context, old, by_name.get(old.in_flight.workflow)) or _together(context, old)
        if problem is not None:
            yield problem


def _alone(context: Context, old: Draining, new: Journey | None) -> Problem | None:
    """What the old version and the new one, entered behind it, make too full; not what the new one does already."""
    if new is not None and not (is_a_path(new) and is_a_path(old.journey)):
        return None
    merged = Pressure(old_then_new(old.journey.graph, new.graph)) if new is not None else _draining_alone(old)
    for measure in context.measures(merged.used_channels()):
        bound = merged.bound(measure.channels)
        if bound.is_unbounded:
            continue
        for rate in measure.rates:
            count = bound.most(rate.per.elapsed_ms, measure.told_max)
            if count > rate.count and not _exceeds(new, measure, rate):
                return _finding(
                    context,
                    old,
                    measure,
                    rate,
                    count,
                    told_alone(bound.witness(rate.count + 1), old.in_flight.workflow),
                )
    return None


def _draining_alone(old: Draining) -> Pressure:
    """What drains, without newcomers."""
    return Pressure(merge([old.journey.graph], [], comes_back=[False]))


def _exceeds(new: Journey | None, measure: Measure, rate: Rate) -> bool:
    """Whether the new files alone are too much already, which PRS001 tells."""
    if new is None or new.pressure is None or new.pressure.is_too_large:
        return False
    bound = new.pressure.bound(measure.channels)
    return bool(bound.sends) and not bound.is_unbounded and bound.most(rate.per.elapsed_ms, rate.count + 1) > rate.count


def _together(context: Context, old: Draining) -> Problem | None:
    """What it makes too full together with all other workflows; not what those are without it."""
    alone = _draining_alone(old)
    used = in_order({*context.combined.channels, *alone.used_channels()})
    for measure in context.measures(used):
        bound = alone.bound(measure.channels)
        if not bound.sends:
            continue
        for rate in measure.rates:
            window_ms = rate.per.elapsed_ms
            others = context.combined.total(measure.channels, window_ms, measure.told_max)
            theirs = sum(
                part.count
                for part in others.parts
                if all(journey.name != old.in_flight.workflow for journey in part.unit.journeys)
            )
            count = bound.most(window_ms, measure.told_max)
            if theirs <= rate.count < theirs + count and others.count <= rate.count:
                own = [Sighting(at_ms=sent.at_ms, node=sent.node, journey=old.journey) for sent in bound.witness(count)]
                way = [*own, *context.combined.witness(others, measure.channels, rate.count)]
                way.sort(key=lambda one: (one.at_ms, one.node.place))
                return _finding(
                    context, old, measure, rate, theirs + count, told(way), beside=" beside other workflows"
                )
    return None


def _finding(
    context: Context,
    old: Draining,
    measure: Measure,
    rate: Rate,
    count: int,
    way: Sequence[str],
    *,
    beside: str = "",
) -> Problem:
    one = old.in_flight
    people = f"{one.contacts} contact{'' if one.contacts == 1 else 's'}"
    shown = f"{count} or more" if count >= measure.told_max else str(count)
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        confidence="possible",
        message=f"version {one.version} of `{one.workflow}` still holds {people}, who can be sent {shown} marketing {measure.noun} in {rate.per}{beside} ({measure.kind} {rate.count})",
        place=_place(context, one.workflow),
        detail=(*way, f"lines of version {one.version} are those of its release"),
        help=f"lengthen the gap of `reentry:`, carry them over with `move:`, or `flowctl apply --in-flight {one.workflow}=exit`",
        step=one.workflow,
    )


def _place(context: Context, name: str) -> Place:
    """The workflow; where its file is gone, flowctl.yaml."""
    workflow = context.project.workflows.get(name)
    return workflow.place_of("workflow") if workflow is not None else context.settings.place_of("project")
