"""`flowctl doctor`: what is wrong, or soon will be, with the store, its ticks and its channels."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation

if TYPE_CHECKING:
    from flowctl.cli.invocation import Invocation
    from flowctl.report.health import Finding

EXAMPLES = """\
flowctl doctor
flowctl doctor --offline       without connecting to the channels
flowctl doctor --json | jq '.findings[] | select(.level != "ok")'
"""


def command(
    ctx: typer.Context,
    offline: Annotated[bool, typer.Option("--offline", help="Connect to no channel.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Look for trouble: store, permissions, disk, clock, ticks, providers, backlog, unapplied files. Nothing is sent.

    Each channel is connected to and logged in to. Exits 1 where something is a problem; warnings alone are no reason to wake anybody.
    """
    from flowctl.cli.store import opened
    from flowctl.engine.adapters import channel_maker
    from flowctl.engine.runtime import load
    from flowctl.report.health import health
    from flowctl.store.inbox import Shelf

    said = invocation(ctx)
    with opened(said) as store:
        runtime = None if offline else load(store.connection)
        found = health(
            store,
            now=clock.now(),
            digest=_digest(said),
            channels=channel_maker(runtime, said.root(), Shelf(store.connection, clock.now)) if runtime else None,
        )
    _show(found, as_json=as_json)
    return 1 if any(finding.level == "problem" for finding in found) else 0


def _digest(said: Invocation) -> str | None:
    """Of the files as they are, as `apply` reckons it; None where they have faults."""
    from flowctl.engine.apply import digest_of

    project = said.project()
    return None if project.errors else digest_of({**project.sources, **project.bodies})


def _show(found: list[Finding], *, as_json: bool) -> None:
    if as_json:
        render.document("doctor", {"findings": [asdict(finding) for finding in found]})
        return
    render.table(
        ["level", "check", "finding", "what to do"],
        [(finding.level, finding.check, finding.text, finding.help) for finding in found],
    )
