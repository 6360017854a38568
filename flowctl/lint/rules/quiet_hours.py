"""CNS002 quiet-hours: a marketing SMS may leave at night, on a Sunday or on a public holiday.

## What it does

Reports a project with marketing SMS that says no `quiet_hours` for them, and a window that is wider than the country's own rules: hours, days, public
holidays.

## Why is this bad

An SMS rings. At three in the morning it is the last one that this person gets from you; in France it is also against the
charter that every operator makes its customers sign.

## Example

```yaml
project: maison-lune
channels: {sms: {adapter: twilio}}
```

## Use instead

```yaml
quiet_hours:
  sms: {FR: {days: mon-sat, between: ["08:00", "22:00"], holidays: false}, default: {between: ["08:00", "21:00"]}}
```

## Options

None.

## Source

France: the operators' charter (AF2M): no marketing SMS from 22:00 to 08:00, on Sundays and on public holidays. Elsewhere 08:00 to 21:00, the hours of
the United States' Telephone Consumer Protection Act (47 CFR 64.1200), where nothing stricter is known.
"""

from __future__ import annotations

from datetime import time
from typing import TYPE_CHECKING

from flowctl.language.problem import Edit, Fix, Place, Problem, Related
from flowctl.language.settings import Hours
from flowctl.language.source import lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CNS002"
SLUG = "quiet-hours"
SEVERITY: Severity = "error"
RULES = {"FR": (time(8), time(22), True), "default": (time(8), time(21), False)}
"""From when, until when, and whether Sundays and public holidays are quiet altogether."""
WINDOW = """\
quiet_hours:
  sms:
    FR: {days: mon-sat, between: ["08:00", "22:00"], holidays: false}
    default: {between: ["08:00", "21:00"]}
"""


def check(context: Context) -> Iterator[Problem]:
    """What each country lacks."""
    texts = [message for message in context.marketing() if message.sms is not None]
    if not texts or not context.project.settings_sound:
        return
    related = (
        Related(place=texts[0].place_of_key("sms"), label=f"one of {len(texts)}" if len(texts) > 1 else "marketing"),
    )
    settings = context.settings
    said = settings.quiet_hours.get("sms")
    if said is None:
        yield _finding(
            "marketing SMS may leave at any hour: the project says no `quiet_hours` for them",
            settings.place_of("project"),
            related,
            _added(context),
        )
        return
    rules = {"default": said} if isinstance(said, Hours) else said
    place = settings.place_of_key("quiet_hours")
    for country in {*rules, *([settings.country] if settings.country and "default" in rules else [])}:
        hours = rules.get(country, rules.get("default"))
        if hours is None:
            continue
        for fault in _faults(hours, country):
            name = "countries that are not named" if country == "default" else country
            yield _finding(
                f"marketing SMS to {name} may leave {fault}", hours.place if hours.node else place, related, None
            )
    if "default" not in rules:
        message = "marketing SMS to countries that are not named may leave at any hour"
        yield _finding(message, place, related, None)


def _faults(hours: Hours, country: str) -> Iterator[str]:
    """What a window lets pass that the country's rules do not."""
    first, last, is_strict = RULES.get(country, RULES["default"])
    if hours.between is None:
        yield "at any hour"
    else:
        begins, ends = hours.between
        if ends <= begins and ends != time():
            yield "through the night"
        elif begins < first or ends > last or ends == time():
            yield f"outside {first:%H:%M} to {last:%H:%M}"
    if is_strict and "sun" in hours.days:
        yield "on Sundays"
    if is_strict and hours.holidays:
        yield "on public holidays"


def _added(context: Context) -> Fix | None:
    """The strictest window of all at the end of flowctl.yaml: not safe, since it holds messages back."""
    root = context.settings.node
    text = context.project.sources.get("flowctl.yaml")
    if root is None or text is None or "quiet_hours" in root.entries or text.lstrip().startswith("{"):
        return None
    begin = "" if text.endswith("\n") else "\n"
    line = len(lines(text))
    column = len(lines(text)[-1]) + 1
    place = Place(path="flowctl.yaml", line=line, column=column, end_line=line, end_column=column)
    return Fix(title="add quiet hours", edits=(Edit(place=place, text=f"{begin}{WINDOW}"),), safe=False)


def _finding(message: str, place: Place, related: tuple[Related, ...], fix: Fix | None) -> Problem:
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=message,
        place=place,
        related=related,
        help='say when they may leave: `quiet_hours: {sms: {FR: {days: mon-sat, between: ["08:00", "22:00"], holidays: false}, default: {between: ["08:00", "21:00"]}}}`',
        fix=fix,
    )
