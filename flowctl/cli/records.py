"""`flowctl records`: opportunities, tickets and the like; list, export, import."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowctl.cli import importing, render, sheets
from flowctl.cli.importing import (
    DateFormatOption,
    DecimalCommaOption,
    DelimiterOption,
    DryRunOption,
    EncodingOption,
    ErrorsOption,
    FileArgument,
    FormatOption,
    JsonOption,
    MapOption,
    RegionOption,
    example,
)
from flowctl.cli.invocation import invocation
from flowctl.cli.store import opened
from flowctl.cli.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowctl.store.casting import Kind
    from flowctl.store.records import Record

EXAMPLES = """\
flowctl records list --kind opportunity
flowctl records export opportunity > opportunities.csv
flowctl records import ticket tickets.csv --map customer=contact --map number=key
"""
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, export and import records.")
KindArgument = Annotated[
    str, typer.Argument(metavar="RECORD", help="ticket, opportunity, or one of `records:`.", show_default=False)
]


@app.command("list", epilog=example("flowctl records list --kind opportunity --contact ana@example.com"))
def list_(
    ctx: typer.Context,
    kind: Annotated[str, typer.Option("--kind", metavar="RECORD", help="Only these.", show_default=False)] = "",
    contact: Annotated[
        str,
        typer.Option("--contact", metavar="X", help="Key, e-mail address, phone number or #id.", show_default=False),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", help="At most so many rows.", min=1)] = 100,
    json: JsonOption = False,
) -> int:
    """List records in order of arrival: by which workflow, for whom, with which values."""
    from flowctl.store import contacts
    from flowctl.store.records import records

    with opened(invocation(ctx)) as store:
        who = contacts.resolve(store.connection, contact) if contact else None
        found = list(records(store.connection, kind=kind or None, contact_id=who, limit=limit))
    if json:
        render.document("records", {"records": [{**asdict(each), "at": iso(each.at)} for each in found]})
        return 0
    rows = [
        (
            each.id,
            each.kind,
            each.key,
            each.contact,
            iso(each.at),
            each.workflow or "imported",
            each.push or "",
            _told(each.values),
        )
        for each in found
    ]
    columns = ["id", "record", "key", "contact", "at", "workflow", "service", "values"]
    render.table(columns, rows, right=["id"])
    return 0


@app.command(epilog=example("flowctl records export opportunity --format ndjson > opportunities.ndjson"))
def export(
    ctx: typer.Context,
    kind: KindArgument,
    format: Annotated[Literal["csv", "ndjson"], typer.Option("--format", help="What to write.")] = "csv",
) -> int:
    """Write records to standard output, so that `records import` reads them.

    In CSV, texts that a spreadsheet would run as a formula get an apostrophe in front; NDJSON is exact.
    """
    from flowctl.cli.events import applied
    from flowctl.store.records import declared, known_kind, records

    with opened(invocation(ctx)) as store:
        kinds = declared(applied(store.connection))
        fields = kinds[known_kind(kinds, kind)]
        found = records(store.connection, kind=kind)
        if format == "ndjson":
            for each in found:
                print(render.json_text(_flat(each, fields)))
        else:
            _write(found, fields)
    return 0


def _flat(record: Record, fields: dict[str, Kind]) -> dict[str, Any]:
    values = {name: _readable(fields.get(name), value) for name, value in record.values.items()}
    return {"contact": record.contact, "key": record.key, "at": iso(record.at), **values}


def _readable(kind: Kind | None, value: Any) -> Any:
    """A value as an import reads it back: times are kept in milliseconds."""
    return iso(value) if kind is not None and kind.type == "datetime" and isinstance(value, int) else value


def _write(found: Iterable[Record], fields: dict[str, Kind]) -> None:
    """CSV with the declared fields; where none are declared, with those of all records."""
    rows = list(found) if not fields else found
    names = list(fields) or sorted({name for each in rows for name in each.values})
    writer = sheets.writer(sys.stdout)
    writer.writerow(["contact", "key", "at", *names])
    for each in rows:
        cells = [
            each.contact,
            each.key or "",
            iso(each.at) or "",
            *(_cell(_readable(fields.get(name), each.values.get(name))) for name in names),
        ]
        shown = render.printable if render.is_terminal() else str
        writer.writerow([shown(sheets.harmless(cell)) for cell in cells])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _told(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_cell(value)}" for name, value in values.items())


@app.command(
    "import", epilog=example("flowctl records import ticket tickets.csv --map customer=contact --map number=key")
)
def import_(
    ctx: typer.Context,
    kind: KindArgument,
    file: FileArgument,
    columns: MapOption = None,
    errors: ErrorsOption = "",
    dry_run: DryRunOption = False,
    format: FormatOption = None,
    encoding: EncodingOption = "",
    delimiter: DelimiterOption = "",
    date_format: DateFormatOption = "",
    decimal_comma: DecimalCommaOption = False,
    region: RegionOption = "",
    json: JsonOption = False,
) -> int:
    """Import records; running it again stores nothing twice.

    Columns: `contact` (key, e-mail address, phone number or #id), `key`, `at`, and the record's fields. A record is known
    again by contact and key. Rows that fail are listed in a file, the others stored, and the exit status is 1. Records
    start the workflows that wait for them, unless `at` lies beyond their max_event_age (a day unless said).
    """
    from flowctl import clock
    from flowctl.cli.events import applied
    from flowctl.store.reading import open_source
    from flowctl.store.records import Plan, RecordImport, declared, known_kind

    said = invocation(ctx)
    with opened(said) as store:
        runtime = applied(store.connection)
        kinds = declared(runtime)
        plan = Plan(
            kind=known_kind(kinds, kind),
            fields=kinds[kind],
            reading=importing.reading(runtime, date_format=date_format, decimal_comma=decimal_comma, region=region),
            now=clock.now(),
            columns=importing.mapping(columns),
            dry_run=dry_run,
        )
        path = file if file == "-" else str(said.directory / file)
        source = open_source(path, format=format, encoding=encoding or None, delimiter=delimiter or None)
        with importing.faults_file(errors, file, said.directory) as (note, faults):
            importer = RecordImport(store.connection, plan, note)
            importing.run(said, source, importer, dry_run=dry_run)
    done = importer.outcome
    if json:
        counts = {"stored": done.stored, "known": done.known, "failed": done.failed, "dry_run": dry_run}
        render.document("records-import", {**counts, "errors": str(faults) if done.failed else None})
    parts = [f"{render.plural(done.stored, 'record')} stored"]
    parts += [f"{render.plural(done.known, 'record')} known already"] if done.known else []
    return importing.conclude(said, file, parts, done.failed, faults, dry_run=dry_run)
