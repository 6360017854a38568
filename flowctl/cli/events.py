"""`flowctl events`: import facts about contacts, or add one."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowctl.cli import importing, render
from flowctl.cli.importing import (
    DateFormatOption,
    DecimalCommaOption,
    DelimiterOption,
    DryRunOption,
    EncodingOption,
    ErrorsOption,
    FileArgument,
    FormatOption,
    IgnoreOption,
    JsonOption,
    MapOption,
    RegionOption,
    example,
)
from flowctl.cli.invocation import invocation
from flowctl.cli.store import opened
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from flowctl.store.reading import Chunk, RowFault

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Import events, or add one.")
EXAMPLES = """\
flowctl events import purchases.csv --event purchase_completed --map customer_id=contact --map date=at
flowctl events add cart_updated --contact ana@example.com items=2 cart_id=c1
"""


@app.command(
    "import",
    epilog=example(
        "flowctl events import purchases.csv --event purchase_completed --map customer_id=contact --map date=at"
    ),
)
def import_(
    ctx: typer.Context,
    file: FileArgument,
    event: Annotated[
        str,
        typer.Option(
            "--event", metavar="NAME", help="The event of every row, where no column says.", show_default=False
        ),
    ] = "",
    columns: MapOption = None,
    create: Annotated[bool, typer.Option("--create", help="Make contacts that are not there yet.")] = False,
    errors: ErrorsOption = "",
    dry_run: DryRunOption = False,
    format: FormatOption = None,
    encoding: EncodingOption = "",
    delimiter: DelimiterOption = "",
    date_format: DateFormatOption = "",
    decimal_comma: DecimalCommaOption = False,
    region: RegionOption = "",
    ignore_unknown: IgnoreOption = False,
    json: JsonOption = False,
) -> int:
    """Import events; running it again stores nothing twice.

    Columns: `contact` (key, e-mail address, phone number or #id), `event`, `at`, `id` and the event's properties. An event
    is known again by its `id`, without one by contact, event, time and properties. Rows that fail are listed in a file,
    the others stored, and the exit status is 1. Past events start no workflow beyond its max_event_age (a day unless said).
    """
    from flowctl import clock
    from flowctl.store import events
    from flowctl.store.event_import import EventImport, Plan
    from flowctl.store.reading import open_source

    said = invocation(ctx)
    with opened(said) as store:
        runtime = applied(store.connection)
        plan = Plan(
            events=events.declared(runtime),
            reading=importing.reading(runtime, date_format=date_format, decimal_comma=decimal_comma, region=region),
            now=clock.now(),
            columns=importing.mapping(columns),
            event=event or None,
            create=create,
            ignore_unknown=ignore_unknown,
            dry_run=dry_run,
        )
        path = file if file == "-" else str(said.directory / file)
        source = open_source(path, format=format, encoding=encoding or None, delimiter=delimiter or None)
        with importing.faults_file(errors, file, said.directory) as (note, faults):
            importer = EventImport(store.connection, plan, note)
            importing.run(said, source, importer, dry_run=dry_run)
    done = importer.outcome
    if json:
        counts = {
            "stored": done.stored,
            "known": done.known,
            "repeated": done.repeated,
            "failed": done.failed,
            "contacts_created": done.created,
        }
        render.document("events-import", {**counts, "dry_run": dry_run, "errors": str(faults) if done.failed else None})
    if done.repeated:
        said.say(
            f"{render.plural(done.repeated, 'row')} taken for the same event as an earlier row, in everything alike or of one id; "
            "where they are not, give each its `id`"
        )
    parts = [f"{render.plural(done.stored, 'event')} stored"]
    parts += [f"{render.plural(done.known, 'event')} known already"] if done.known else []
    parts += [f"{render.plural(done.created, 'contact')} created"] if done.created else []
    return importing.conclude(said, file, parts, done.failed, faults, dry_run=dry_run)


@app.command(
    epilog=example("flowctl events add cart_updated --contact ana@example.com items=2 cart_id=c1 --at 2026-12-01T09:00")
)
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="EVENT", help="A declared event.", show_default=False)],
    properties: Annotated[
        list[str] | None, typer.Argument(metavar="[PROPERTY=VALUE]...", help="Its properties.", show_default=False)
    ] = None,
    contact: Annotated[
        str,
        typer.Option("--contact", metavar="X", help="Key, e-mail address, phone number or #id.", show_default=False),
    ] = "",
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="When it happened.  [default: now]", show_default=False)
    ] = "",
    id: Annotated[
        str,
        typer.Option(
            "--id", metavar="ID", help="The event's own id: adding it twice stores it once.", show_default=False
        ),
    ] = "",
    create: Annotated[bool, typer.Option("--create", help="Make the contact if it is not there yet.")] = False,
) -> int:
    """Add one event."""
    from flowctl import clock
    from flowctl.store import contacts, events
    from flowctl.store.event_import import EventImport, Plan

    said = invocation(ctx)
    row = _row(name, properties or [], contact=contact, at=at, id=id)
    faults: list[RowFault] = []
    with opened(said) as store:
        runtime = applied(store.connection)
        now = clock.now()
        reading = importing.reading(runtime, date_format="", decimal_comma=False, region="")
        plan = Plan(
            events=events.declared(runtime),
            reading=reading,
            now=now,
            default_at=now,
            create=create,
            origin=contacts.LIVE,
        )
        importer = EventImport(store.connection, plan, faults.append)
        importer.check(tuple(row))
        importer.take(_chunk(row))
    if faults:
        fault = faults[0]
        what = f"{fault.column.removeprefix('properties.')}={fault.value}: " if fault.column and fault.value else ""
        message = f"{name}: {what}{fault.reason}"
        raise UsageFailure(message)
    said.say("known already: nothing was stored" if importer.outcome.known else "stored")
    return 0


def applied(connection: Any) -> dict[str, Any]:
    """What the newest release says.

    Raises:
        UsageFailure: nothing was applied yet.
    """
    from flowctl.store.releases import newest_runtime

    runtime = newest_runtime(connection)
    if runtime is None:
        message = "nothing was applied yet, so the store does not know the fields and events"
        raise UsageFailure(message, help="run `flowctl apply` first")
    return runtime


def _row(name: str, properties: list[str], *, contact: str, at: str, id: str) -> dict[str, str]:
    # Without id and time it is a new event each time; with a time, one that is added again is the same.
    row = {"event": name, "contact": contact, "at": at, "id": id or ("" if at else token_hex(16))}
    row = {column: value for column, value in row.items() if value or column in ("event", "contact")}
    for pair in properties:
        prop, equals, value = pair.partition("=")
        if not equals or not prop:
            message = f"{pair!r} is not PROPERTY=VALUE"
            raise UsageFailure(message, help="for example items=2")
        row[f"properties.{prop}"] = value
    return row


def _chunk(row: dict[str, str]) -> Chunk:
    from flowctl.store.reading import Chunk

    return Chunk(columns=tuple(row), rows=[list(row.values())], lines=[1], faults=[])
