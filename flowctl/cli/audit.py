"""`flowctl audit`: whether the books balance."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation

EXAMPLES = """\
flowctl audit
flowctl audit --json | jq .differences
"""


def command(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Add everything up and find no difference.

    Every enrollment is in exactly one state and due, waiting or sending; every message is accounted for; segments are what
    their transitions say; the file is sound. Exits 1 where something does not add up, and lists it.
    """
    from flowctl.cli.store import opened
    from flowctl.report.audit import audit

    said = invocation(ctx)
    with opened(said) as store:
        found = audit(store, now=clock.now())
    if as_json:
        render.document("audit", {"balanced": found.balanced, **asdict(found)})
        return 0 if found.balanced else 1
    rows: list[tuple[str, str, int]] = [("enrollments", state, count) for state, count in found.enrollments.items()]
    rows += [("messages", state, count) for state, count in found.messages.items()]
    render.table(["of", "state", "count"], rows, right=["count"])
    if found.balanced:
        said.say(f"balanced: {found.checks} checks, no difference")
        return 0
    print()
    differences = [(each.check, each.count, each.what, ", ".join(each.examples)) for each in found.differences]
    render.table(["check", "rows", "what", "ids"], differences, right=["rows"])
    said.say(f"not balanced: {render.plural(len(found.differences), 'difference')} in {found.checks} checks")
    return 1
