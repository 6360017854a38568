"""`flowctl contacts`: import, list, show, set, export, suppress and forget contacts."""

from __future__ import annotations

import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowctl.cli import importing, render, sheets
from flowctl.cli.events import applied
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
from flowctl.cli.times import iso
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from flowctl.store.contact_import import Outcome
    from flowctl.store.fields import Field

Reason = Literal["manual", "unsubscribed", "complained", "bounced", "refused"]
WHO = "Key, e-mail address, phone number or #id."
LISTED = ("id", "key", "email", "phone", "language", "country", "created_at")  # what `list` shows unless told
EVENTS_SHOWN_MAX = 10  # of `show`; --json has all
app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Import, list, show, set, export, suppress, forget contacts."
)
EXAMPLES = """\
flowctl contacts import people.csv --map Prénom=first_name --consent email --source "shop checkout 2026"
flowctl contacts list --segment vip --fields key,email,engagement
flowctl contacts set ana@example.com language=fr consent.email=true
"""


@app.command(
    "import",
    epilog=example(
        'flowctl contacts import people.csv --map Prénom=first_name --consent email --source "shop checkout 2026"'
    ),
)
def import_(
    ctx: typer.Context,
    file: FileArgument,
    columns: MapOption = None,
    consent: Annotated[
        list[str] | None,
        typer.Option(
            "--consent",
            metavar="CHANNEL",
            help="Every row agrees to marketing on this channel; needs --source. May be repeated.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str, typer.Option("--source", metavar="TEXT", help="Where consent was given.", show_default=False)
    ] = "",
    errors: ErrorsOption = "",
    dry_run: DryRunOption = False,
    clear_empty: Annotated[
        bool, typer.Option("--clear-empty", help="An empty cell clears what is there, instead of saying nothing.")
    ] = False,
    format: FormatOption = None,
    encoding: EncodingOption = "",
    delimiter: DelimiterOption = "",
    date_format: DateFormatOption = "",
    decimal_comma: DecimalCommaOption = False,
    region: RegionOption = "",
    ignore_unknown: IgnoreOption = False,
    json: JsonOption = False,
) -> int:
    """Import contacts; running it again changes nothing.

    Columns are contact fields, `consent.email` (true or false), `consent.email.at`, `consent.email.source` and
    `optout.TOPIC`. A contact is known by `key`, else by e-mail address, else by phone number. Rows that fail are listed in
    a file, the others stored, and the exit status is 1. A consent without a date never undoes a withdrawal.
    """
    from flowctl import clock
    from flowctl.store.consents import CHANNELS
    from flowctl.store.contact_columns import Plan
    from flowctl.store.contact_import import ContactImport
    from flowctl.store.reading import open_source

    said = invocation(ctx)
    unknown = next((channel for channel in consent or () if channel not in CHANNELS), None)
    if unknown:
        message = f"--consent {unknown}: there is no such channel"
        raise UsageFailure(message, help=f"there are {', '.join(CHANNELS)}")
    if consent and not source:
        message = "--consent needs --source: where was it given?"
        raise UsageFailure(message, help='for example --source "shop checkout 2026"')
    with opened(said) as store:
        runtime = applied(store.connection)
        plan = Plan(
            reading=importing.reading(runtime, date_format=date_format, decimal_comma=decimal_comma, region=region),
            now=clock.now(),
            source=source or f"import of {file}",
            columns=importing.mapping(columns),
            consents=dict.fromkeys(consent or (), source),
            clear_empty=clear_empty,
            ignore_unknown=ignore_unknown,
            dry_run=dry_run,
        )
        path = file if file == "-" else str(said.directory / file)
        opened_file = open_source(path, format=format, encoding=encoding or None, delimiter=delimiter or None)
        with importing.faults_file(errors, file, said.directory) as (note, faults):
            importer = ContactImport(store.connection, plan, note)
            importing.run(said, opened_file, importer, dry_run=dry_run)
    done = importer.outcome
    if json:
        render.document("contacts-import", _counts(done, dry_run=dry_run, errors=str(faults) if done.failed else None))
    for line in _remarks(done):
        said.say(line)
    parts = [
        f"{render.plural(getattr(done, name), 'contact')} {name}"
        for name in ("created", "updated", "unchanged")
        if getattr(done, name)
    ]
    return importing.conclude(said, file, parts or ["no contacts"], done.failed, faults, dry_run=dry_run)


def _counts(done: Outcome, *, dry_run: bool, errors: str | None) -> dict[str, Any]:
    names = ("created", "updated", "unchanged", "failed", "repeated", "withdrawals_kept", "suppressed")
    repeats = [{"line": line, "earlier_line": earlier} for line, earlier in done.repeats]
    return {**{name: getattr(done, name) for name in names}, "repeats": repeats, "dry_run": dry_run, "errors": errors}


def _remarks(done: Outcome) -> Iterator[str]:
    if done.repeated:
        shown = ", ".join(f"line {line} outdid line {earlier}" for line, earlier in done.repeats[:3])
        more = " …" if done.repeated > 3 else ""  # noqa: PLR2004 - as many as above
        yield f"{render.plural(done.repeated, 'row')} about a contact of an earlier row: {shown}{more}"
    if done.withdrawals_kept:
        yield f"{render.plural(done.withdrawals_kept, 'consent')} not taken: withdrawn before, and no consent.CHANNEL.at says it was given later"
    if done.suppressed:
        yield f"{render.plural(done.suppressed, 'address', 'addresses')} suppressed: nothing is sent there"


@app.command("list", epilog=example("flowctl contacts list --segment vip --fields key,email --limit 20"))
def list_(
    ctx: typer.Context,
    segment: Annotated[
        str, typer.Option("--segment", metavar="NAME", help="Only its members.", show_default=False)
    ] = "",
    fields: Annotated[
        str, typer.Option("--fields", metavar="A,B,…", help="Which fields; `all` for all.", show_default=False)
    ] = "",
    limit: Annotated[int | None, typer.Option("--limit", min=0, help="At most so many.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> int:
    """List contacts."""
    from flowctl.store import contacts
    from flowctl.store.fields import load

    with opened(invocation(ctx)) as store:
        known = load(store.connection)
        names = _chosen(fields, known)
        rows = contacts.listed(store.connection, names, segment=segment or None, limit=limit)
        types = _types(names, known)
        if json:
            listed = [_object(names, types, row) for row in rows]
            render.document("contacts", {"contacts": listed, "count": len(listed)})
        else:
            shown = ([sheets.readable(type_, value) for type_, value in zip(types, row, strict=True)] for row in rows)
            render.table(names, ([_flat(value) for value in row] for row in shown))
    return 0


def _chosen(said: str, known: Mapping[str, Field]) -> list[str]:
    if not said:
        return list(LISTED)
    if said == "all":
        return ["id", *known]
    names = [name.strip() for name in said.split(",") if name.strip()]
    unknown = next((name for name in names if name != "id" and name not in known), None)
    if unknown or not names:
        message = f"there is no contact field {unknown!r}" if unknown else "--fields names none"
        raise UsageFailure(message, help=f"there are {', '.join(['id', *known])}")
    return names


def _types(names: Sequence[str], known: Mapping[str, Field]) -> list[str]:
    return [known[name].type if name in known else "integer" for name in names]


def _object(names: Sequence[str], types: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    return {name: sheets.readable(type_, value) for name, type_, value in zip(names, types, row, strict=True)}


def _flat(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else value


@app.command(epilog=example("flowctl contacts show ana@example.com"))
def show(
    ctx: typer.Context,
    contact: Annotated[str, typer.Argument(metavar="X", help=WHO, show_default=False)],
    json: Annotated[
        bool, typer.Option("--json", help="Everything the store holds about this person, as JSON.")
    ] = False,
) -> int:
    """Show one contact: fields, consents, segments, workflows, newest events."""
    from flowctl.store import contacts

    with opened(invocation(ctx)) as store:
        person = _person(store.connection, contacts.resolve(store.connection, contact))
    if json:
        render.document("contact", person)
        return 0
    rows = [
        ("id", person["id"]),
        *((name, _flat(value)) for name, value in person["fields"].items() if value is not None),
    ]
    rows += [("zone", person["zone"] or "the project's")] if "timezone" not in dict(rows) else []
    rows += [
        (f"consent.{each['channel']}", _consent(each)) for each in person["consents"] if each["purpose"] == "marketing"
    ]
    rows += [
        (f"optout.{each['purpose'].removeprefix('topic:')}", _flat(not each["granted"]))
        for each in person["consents"]
        if each["purpose"] != "marketing"
    ]
    rows += [
        (f"suppressed.{each['channel']}", f"{each['reason']}, {each['at']}, {each['source']}")
        for each in person["suppressions"]
    ]
    rows += [("segment", f"{each['segment']} since {each['since']}") for each in person["segments"]]
    rows += [
        ("workflow", f"{each['workflow']} v{each['version']} {each['state']} since {each['entered_at']}")
        for each in person["enrollments"]
    ]
    newest = person["events"][-EVENTS_SHOWN_MAX:]
    rows += [
        ("event", f"{each['at']} {each['event']} {json_module.dumps(each['properties'] or {}, ensure_ascii=False)}")
        for each in newest
    ]
    render.table(("what", "value"), rows)
    return 0


def _consent(each: Mapping[str, Any]) -> str:
    return f"{'granted' if each['granted'] else 'withdrawn'}, {each['at']}, {each['source']}"


def _person(connection: sqlite3.Connection, contact_id: int) -> dict[str, Any]:
    """All about one person, times and values readable."""
    from flowctl.store import contacts, fields, statuses

    person = contacts.dossier(connection, contact_id)
    known = fields.load(connection)
    person["fields"] = {name: sheets.readable(known[name].type, value) for name, value in person["fields"].items()}
    for name, rows in person.items():
        if isinstance(rows, list):
            person[name] = [{column: _said(column, value) for column, value in row.items()} for row in rows]
    for row in person["message_events"]:
        row["status"] = statuses.NAMES[row["status"]]
    return person


def _said(column: str, value: Any) -> Any:
    if column == "granted":
        return bool(value)
    return iso(value) if isinstance(value, int) and (column == "since" or column.endswith("at")) else value


@app.command(
    "set",
    epilog=example(
        'flowctl contacts set ana@example.com language=fr interests=toys consent.email=true --source "phone call"'
    ),
)
def set_(
    ctx: typer.Context,
    contact: Annotated[str, typer.Argument(metavar="X", help=WHO, show_default=False)],
    values: Annotated[
        list[str],
        typer.Argument(
            metavar="FIELD=VALUE...",
            help="Fields, or consent.CHANNEL, optout.TOPIC; FIELD= clears.",
            show_default=False,
        ),
    ],
    create: Annotated[bool, typer.Option("--create", help="Make the contact if it is not there yet.")] = False,
    source: Annotated[
        str, typer.Option("--source", metavar="TEXT", help="Where a consent comes from.")
    ] = "contacts set",
) -> int:
    """Set fields and consents of one contact. Triggers see the changes.

    A consent set to true here also lifts what the contact's own unsubscribing suppressed; bounces and complaints stay.
    """
    from flowctl import clock
    from flowctl.store import contacts
    from flowctl.store.database import transaction

    said = invocation(ctx)
    with opened(said) as store:
        runtime = applied(store.connection)
        pairs = _pairs(values)
        reading = importing.reading(runtime, date_format="", decimal_comma=False, region=pairs.get("country", ""))
        edit = contacts.read_edit(store.connection, pairs, reading, source=source)
        now = clock.now()
        with transaction(store.connection):
            created = create and not contacts.find(store.connection, contact)
            contact_id = (
                contacts.create_named(store.connection, contact, reading, now=now)
                if created
                else contacts.resolve(store.connection, contact)
            )
            changed, lifted = contacts.apply_edit(store.connection, contact_id, edit, now=now)
    said.say(
        f"#{contact_id} {'created' if created else 'changed' if changed else 'unchanged'}{': ' if changed else ''}{', '.join(changed)}"
    )
    for channel in lifted:
        said.say(f"the unsubscription from {channel} was lifted")
    return 0


def _pairs(values: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for said in values:
        name, equals, value = said.partition("=")
        if not equals or not name:
            message = f"{said!r} is not FIELD=VALUE"
            raise UsageFailure(message, help="for example language=fr; `language=` clears")
        pairs[name] = value
    return pairs


@app.command(epilog=example("flowctl contacts export --format ndjson > contacts.ndjson"))
def export(
    ctx: typer.Context,
    contact: Annotated[
        str, typer.Argument(metavar="[X]", help=f"{WHO} Everything about one person, as JSON.", show_default=False)
    ] = "",
    format: Annotated[Literal["csv", "json", "ndjson"], typer.Option("--format", help="Of the list.")] = "csv",
    segment: Annotated[
        str, typer.Option("--segment", metavar="NAME", help="Only its members.", show_default=False)
    ] = "",
    fields: Annotated[str, typer.Option("--fields", metavar="A,B,…", help="Which fields.", show_default=False)] = "",
) -> int:
    """Write contacts to standard output, so that `contacts import` reads them; or all about one person.

    In CSV, texts that a spreadsheet would run as a formula get an apostrophe in front; JSON and NDJSON are exact.
    """
    from flowctl.store import contacts
    from flowctl.store.fields import load

    with opened(invocation(ctx)) as store:
        if contact:
            render.document("contact", _person(store.connection, contacts.resolve(store.connection, contact)))
            return 0
        known = load(store.connection)
        names = _chosen(fields, known) if fields else list(known)
        agreed = [] if fields else contacts.consent_columns(store.connection)
        rows = contacts.listed(store.connection, names, segment=segment or None, consents=agreed)
        types = [*_types(names, known), *(each.type for each in agreed)]
        _write(format, [*names, *(each.name for each in agreed)], types, rows)
    return 0


def _write(style: str, names: list[str], types: list[str], rows: Iterable[Sequence[Any]]) -> None:
    if style == "csv":
        writer = sheets.writer(sys.stdout)
        writer.writerow(names)
        shown = render.printable if render.is_terminal() else str
        writer.writerows(
            [shown(sheets.cell(type_, value)) for type_, value in zip(types, row, strict=True)] for row in rows
        )
        return
    texts = (render.json_text(_object(names, types, row)) for row in rows)
    if style == "ndjson":
        sys.stdout.writelines(f"{text}\n" for text in texts)
        return
    print("[")
    for count, text in enumerate(texts):
        print(",\n" if count else "", text, sep="", end="")
    print("\n]")


@app.command(epilog=example('flowctl contacts suppress ana@example.com --channel email --source "asked by phone"'))
def suppress(
    ctx: typer.Context,
    addresses: Annotated[
        list[str],
        typer.Argument(
            metavar="ADDRESS...", help="E-mail addresses or phone numbers, of contacts or not.", show_default=False
        ),
    ],
    channel: Annotated[
        Literal["email", "sms", "whatsapp"], typer.Option("--channel", help="Where nothing may be sent.")
    ] = "email",
    reason: Annotated[Reason, typer.Option("--reason", help="Why.")] = "manual",
    source: Annotated[str, typer.Option("--source", metavar="TEXT", help="Who says so.")] = "contacts suppress",
) -> int:
    """Never write to these addresses again. Kept as a keyed hash, which outlives the contact."""
    from flowctl import clock
    from flowctl.store import casting, suppressions
    from flowctl.store.database import transaction
    from flowctl.store.releases import newest_runtime

    said = invocation(ctx)
    with opened(said) as store:
        reading = importing.reading(
            newest_runtime(store.connection) or {}, date_format="", decimal_comma=False, region=""
        )
        cast = casting.caster(casting.Kind(type=suppressions.ADDRESS_FIELDS[channel]), reading)
        try:
            checked = [cast(address) for address in addresses]
        except casting.CastError as error:
            message = f"{', '.join(addresses)}: {error}"
            raise UsageFailure(message) from None
        now = clock.now()
        with transaction(store.connection):
            new = suppressions.suppress(
                store.connection, channel, checked, reason=reason, source=source, at=now, now=now
            )
    said.say(
        f"{render.plural(new, 'address', 'addresses')} suppressed on {channel}"
        + (f", {len(checked) - new} already" if new < len(checked) else "")
    )
    return 0


@app.command(epilog=example("flowctl contacts forget ana@example.com --yes"))
def forget(
    ctx: typer.Context,
    people: Annotated[
        list[str] | None,
        typer.Argument(metavar="[X]...", help=f"{WHO} None: finish what was interrupted.", show_default=False),
    ] = None,
    suppress: Annotated[
        bool, typer.Option("--suppress", help="Also never write to their addresses again, whoever imports them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> int:
    """Delete contacts and everything about them, for good: from the store, its write-ahead log and all later backups.

    What suppresses an address stays, as a keyed hash: imported again, it is still not written to. A withdrawn consent
    to marketing stays so too, and coupon codes they had are given to nobody else. The file is rewritten, which takes
    half a minute a gigabyte and as much room on the disk again; name several people at once. Backups and exports
    made before, and messages that left, are beyond its reach.
    """
    from flowctl import clock
    from flowctl.store import contacts, forgetting

    said = invocation(ctx)
    with opened(said) as store:
        if not people:
            forgetting.sweep(store)
            said.say("the store's file holds nothing of people who were forgotten")
            return 0
        ids = list(dict.fromkeys(contacts.resolve(store.connection, each) for each in people))
        named = f"{render.plural(len(ids), 'contact')} ({', '.join(f'#{each}' for each in ids)})"
        if not yes:
            if not sys.stdin.isatty():
                message = f"forgetting {named} cannot be taken back"
                raise UsageFailure(message, help="confirm with --yes")
            if not typer.confirm(f"Forget {named} and everything about them, for good?"):
                return 1
        done = forgetting.forget(store, ids, suppress_all=suppress, now=clock.now())
    if json:
        render.document("contacts-forget", {"contacts": ids, "rows": done.rows, "suppressed": done.suppressed})
    others = sum(done.rows.values()) - done.rows.get("contacts", 0)
    said.say(
        f"forgotten: {named}, {render.plural(others, 'row')} about them; "
        f"{render.plural(done.suppressed, 'address', 'addresses')} kept suppressed, as a hash"
    )
    return 0
