"""What the imports share: options, a progress bar on terminals, the file of rows that failed, the last line."""

from __future__ import annotations

import csv
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import typer

from flowctl.cli.render import plural, printable
from flowctl.failure import Failure, UsageFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowctl.cli.invocation import Invocation
    from flowctl.store.casting import Reading
    from flowctl.store.reading import Chunk, RowFault, Source

Format = Literal["csv", "tsv", "json", "ndjson"]
FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="CSV, TSV, JSON or NDJSON; - for standard input.", show_default=False)
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="COLUMN=FIELD",
        help="A column of the file is this field; COLUMN=- leaves it out. May be repeated.",
        show_default=False,
    ),
]
ErrorsOption = Annotated[
    str,
    typer.Option(
        "--errors",
        metavar="FILE",
        help="Where rows that failed are listed.  [default: FILE.errors.csv]",
        show_default=False,
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Read and check everything, store nothing.")]
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="What the file is, where its name and first bytes do not say.", show_default=False),
]
EncodingOption = Annotated[
    str,
    typer.Option(
        "--encoding", metavar="NAME", help="The file's encoding, such as cp1252.  [default: UTF-8]", show_default=False
    ),
]
DelimiterOption = Annotated[
    str,
    typer.Option(
        "--delimiter",
        metavar="CHAR",
        help="Between the cells of CSV, where the header does not show it.",
        show_default=False,
    ),
]
DateFormatOption = Annotated[
    str,
    typer.Option(
        "--date-format",
        metavar="FORMAT",
        help="How dates are written, such as DD/MM/YYYY.  [default: ISO 8601]",
        show_default=False,
    ),
]
DecimalCommaOption = Annotated[bool, typer.Option("--decimal-comma", help="Numbers are written 12,50.")]
RegionOption = Annotated[
    str,
    typer.Option(
        "--region",
        metavar="COUNTRY",
        help="Of phone numbers without a prefix, where the row has no country, such as FR.",
        show_default=False,
    ),
]
IgnoreOption = Annotated[
    bool, typer.Option("--ignore-unknown", help="Leave out columns that nobody declared, instead of refusing the file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the counts as JSON to standard output.")]


def example(line: str) -> str:
    """A command's example, for the end of its help."""
    return f"\b\nExample:\n  {line}"


class Importer(Protocol):
    """What takes the chunks: contacts, events."""

    def check(self, columns: tuple[str, ...]) -> None:
        """Refuse columns that nobody knows."""

    def take(self, chunk: Chunk) -> None:
        """Store a chunk."""


def mapping(said: list[str] | None) -> dict[str, str]:
    """`--map` as column -> field.

    Raises:
        UsageFailure: one is not written COLUMN=FIELD.
    """
    pairs: dict[str, str] = {}
    for pair in said or []:
        column, equals, name = pair.rpartition("=")
        if not equals or not column or not name:
            message = f"--map {pair!r} is not COLUMN=FIELD"
            raise UsageFailure(
                message, help="for example --map Prénom=first_name, or --map notes=- to leave a column out"
            )
        pairs[column.strip()] = name.strip()
    return pairs


def reading(runtime: dict[str, Any], *, date_format: str, decimal_comma: bool, region: str) -> Reading:
    """How the file writes its values, by its options and what was applied.

    Raises:
        UsageFailure: an option makes no sense.
    """
    from zoneinfo import ZoneInfo

    from flowctl.store import casting
    from flowctl.store.zones import countries, country_of_zone

    zone = runtime.get("timezone") or "UTC"
    region = (region or runtime.get("country") or country_of_zone(zone) or "").upper()
    if region and region not in countries():
        message = f"there is no country {region!r}"
        raise UsageFailure(message, help="write two letters (ISO 3166-1), such as FR")
    try:
        pattern = casting.date_format(date_format) if date_format else None
    except casting.CastError as error:
        raise UsageFailure(str(error)) from None
    return casting.Reading(zone=ZoneInfo(zone), region=region or None, date_format=pattern, decimal_comma=decimal_comma)


def run(said: Invocation, source: Source, importer: Importer, *, dry_run: bool) -> None:
    """Hand the importer every chunk, with a progress bar where a person watches."""
    try:
        importer.check(source.columns)
        with _progress(said, source) as advance:
            for chunk in source.chunks:
                importer.take(chunk)
                advance()
    except KeyboardInterrupt:
        said.say("stopped" if dry_run else "stopped; what was stored stays, run it again to go on")
        raise
    finally:
        source.close()


@contextmanager
def faults_file(path: str, source_path: str, directory: Path) -> Iterator[tuple[Callable[[RowFault], None], Path]]:
    """A function that notes a row that failed, in a file made at the first one; an old file of that name goes first.

    Raises:
        Failure: the file cannot be written.
    """
    target = directory / (path or ("stdin" if source_path == "-" else source_path) + ".errors.csv")
    try:
        target.unlink(missing_ok=True)
        noted = _Faults(target)
        try:
            yield noted.note, target
        finally:
            noted.close()
    except OSError as error:
        if error.filename != str(target):
            raise
        message = f"cannot write {target}: {error.strerror}"
        raise Failure(message, help="--errors FILE names another place") from error


class _Faults:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._writer: Any = None

    def note(self, fault: RowFault) -> None:
        from flowctl.cli.files import open_private
        from flowctl.cli.sheets import harmless

        if self._file is None:
            self._file = open_private(self._path, newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(("line", "column", "value", "reason"))
        value = fault.value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        self._writer.writerow((fault.line, harmless(fault.column), harmless(value), fault.reason))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@contextmanager
def _progress(said: Invocation, source: Source) -> Iterator[Callable[[], None]]:
    if said.quiet or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(source.name), total=source.size)
        yield lambda: progress.update(task, completed=source.position())


def conclude(said: Invocation, name: str, parts: list[str], failed: int, faults: Path, *, dry_run: bool) -> int:
    """Say the last line, and give the exit status: 1 where rows failed."""
    line = f"{name}: {', '.join(parts)}"
    if dry_run:
        line += "; nothing was stored (--dry-run)"
    if failed:
        print(printable(f"{line}; {plural(failed, 'row')} failed: {faults}"), file=sys.stderr)
        return 1
    said.say(line)
    return 0
