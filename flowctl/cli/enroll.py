"""`flowctl enroll`: put people into a workflow by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.failure import Failure, UsageFailure

EXAMPLES = """\
flowctl enroll welcome --contact ana@example.com
flowctl enroll onboarding-2 --contact C-1042 --at tips
flowctl enroll workshop-invitation --csv guests.csv
"""


def command(
    ctx: typer.Context,
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", show_default=False)],
    contact: Annotated[
        list[str] | None,
        typer.Option("--contact", metavar="X", help="Key, address or #id; may be repeated.", show_default=False),
    ] = None,
    csv_file: Annotated[
        str,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="A file whose first column names contacts; a header `key`, `email` or `contact` is passed over.",
            show_default=False,
        ),
    ] = "",
    step: Annotated[str, typer.Option("--at", metavar="STEP", help="Begin at this step.", show_default=False)] = "",
    force: Annotated[bool, typer.Option("--force", help="Also who is outside the audience.")] = False,
) -> int:
    """Put contacts into a workflow by hand; they enter at the next tick, by its audience and re-entry rules."""
    from flowctl.cli.store import opened
    from flowctl.engine.by_hand import enroll
    from flowctl.engine.runtime import load
    from flowctl.store.contacts import resolve

    said = invocation(ctx)
    names = [*(contact or []), *(_names(said.directory / csv_file) if csv_file else [])]
    if not names:
        message = "nobody to enroll"
        raise UsageFailure(message, help="name contacts with --contact or --csv")
    with opened(said) as store:
        runtime = load(store.connection)
        if runtime is None:
            message = "nothing was applied to this store yet"
            raise Failure(message, help="run `flowctl apply` first")
        found, missing = [], []
        for name in names:
            try:
                found.append(resolve(store.connection, name))
            except Failure as fault:
                if not csv_file:
                    raise
                missing.append(fault.message)
        count = enroll(store.connection, runtime, workflow, found, step=step or None, force=force, now=clock.now())
    for text in missing:
        said.say(f"error: {text}")
    print(f"{render.plural(count, 'contact')} will enter {workflow} at the next tick")
    return 1 if missing else 0


def _names(path: object) -> list[str]:
    import csv
    from pathlib import Path

    try:
        with Path(str(path)).open(encoding="utf-8-sig", newline="") as file:
            rows = [row[0].strip() for row in csv.reader(file) if row and row[0].strip()]
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}"
        raise UsageFailure(message) from None
    return rows[1:] if rows and rows[0].lower() in {"key", "email", "contact", "id"} else rows
