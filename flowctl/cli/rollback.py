"""`flowctl rollback`: an earlier release again."""

from __future__ import annotations

from typing import Annotated

import typer

from flowctl import clock
from flowctl.cli.apply import can_ask, confirmed, told
from flowctl.cli.invocation import invocation

EXAMPLES = """\
flowctl rollback                  to the release before the newest; shows the plan and asks
flowctl rollback 12 --yes
flowctl rollback 3f2c1ab --yes    to what was applied from that commit
"""


def command(
    ctx: typer.Context,
    release: Annotated[
        str,
        typer.Argument(
            metavar="[RELEASE]", help="Its number or commit; the one before the newest unless said.", show_default=False
        ),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Apply the files of an earlier release again, as a new release; the files in the folder stay as they are.

    Contacts in flight finish the version they entered, as after any apply. What was sent stays sent.
    """
    from flowctl.cli.store import opened
    from flowctl.engine.plan import plan
    from flowctl.project.load import load_from
    from flowctl.project.origins import TextFiles
    from flowctl.report.releases import earlier

    said = invocation(ctx)
    can_ask("rollback", yes=yes)
    with opened(said) as store:
        found = earlier(store, release)
        project = load_from(TextFiles(found.files), said.root(), environment=said.environment or found.environment)
        now = clock.now()
        shown = plan(store, project, now=now, commit=found.commit)
        made = confirmed(
            store, project, said, shown, commit=found.commit, orders={}, now=now, yes=yes, rollback=found.id
        )
    return 0 if made is None else told(made)
