"""`flowctl store`; and which store a command works on, opened for the time of the command."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowctl import clock
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.cli.invocation import Invocation
    from flowctl.store.database import Store

EXAMPLES = """\
flowctl store adopt                           after restoring a backup: nothing that may have left leaves again
flowctl store adopt --resend transactional    receipts and the like leave all the same, and may arrive twice
flowctl store adopt --until 2026-12-01T09:00  the lost store sent last then
"""
RESENDS = ("none", "transactional", "all")
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Let a restored store send again.")
DEFAULT = "sqlite:///flowctl.db"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@contextmanager
def opened(said: Invocation, *, create: bool = False) -> Iterator[Store]:
    """The project's store; a relative path is taken from the project's folder. `create` makes one that is not there.

    Raises:
        Failure: there is none, or it cannot serve.
        Busy: another program holds it.
    """
    from flowctl.store.database import open_store, translated

    root = said.root()
    store = open_store(location(root, said.environment), create=create, base=root)
    try:
        with translated(store.path):
            yield store
    finally:
        store.close()


def location(root: Path, environment: str = "") -> str:
    """Where the store of the project in `root` is: FLOWCTL_STORE, else the environment's block, else flowctl.yaml.

    Only this one value is read, without models: a tick that finds nothing to do must start fast.

    Raises:
        UsageFailure: it names a variable that is not set.
    """
    return os.environ.get("FLOWCTL_STORE") or _expanded(_written(root, environment) or DEFAULT)


def _written(root: Path, environment: str) -> str:
    from flowctl.language.source import Mapping, Scalar, decode, parse_text
    from flowctl.project.find import SETTINGS_FILE

    text, _ = decode(SETTINGS_FILE, (root / SETTINGS_FILE).read_bytes())
    node = parse_text(SETTINGS_FILE, text)[0] if text is not None else None

    def inside(at: object, *names: str) -> object:
        for name in names:
            entry = at.entries.get(name) if isinstance(at, Mapping) else None
            at = entry.value if entry else None
        return at

    for place in (("environments", environment, "store"), ("store",)):
        found = inside(node, *place)
        if isinstance(found, Scalar) and isinstance(found.value, str):
            return found.value
    return ""


def _expanded(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1]) or match[2]
        if found is None:
            message = f"`store:` in flowctl.yaml needs the variable {match[1]}, which is not set"
            raise UsageFailure(message, help=f"set {match[1]}, or write ${{{match[1]}:-sqlite:///flowctl.db}}")
        return found

    return _VARIABLE.sub(value, text)


@contextmanager
def planned(said: Invocation) -> Iterator[Store]:
    """The project's store to try things on and take them back; an empty one in memory where there is none yet."""
    from flowctl.store.database import open_store

    root = said.root()
    where = location(root, said.environment)
    path = Path(where.removeprefix("sqlite:///"))
    if where != ":memory:" and not (root / path).exists():
        store = open_store(":memory:", create=True)
        try:
            yield store
        finally:
            store.close()
        return
    with opened(said) as store:
        yield store


@app.callback()
def _group() -> None:
    """Let a restored store send again."""


@app.command("adopt")
def adopt_(
    ctx: typer.Context,
    resend: Annotated[
        str,
        typer.Option(
            "--resend", metavar="WHICH", help="Let these leave, though they may arrive twice: none, transactional, all."
        ),
    ] = "none",
    until: Annotated[
        str,
        typer.Option(
            "--until",
            metavar="TIME",
            help="When the lost store sent last, where its record is lost too.",
            show_default=False,
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Let a store send again that is older than its own sending record, as a restored backup is, or a copy beside its original.

    What was to leave between the copy and the last message of the lost store may have left: it is in doubt, its contacts move on, and
    `flowctl outbox resolve` settles each. What was stored meanwhile is lost: import it again first, unsubscribes above all.
    """
    from flowctl.cli import render
    from flowctl.cli.invocation import invocation
    from flowctl.cli.times import iso
    from flowctl.engine.restored import adopt

    if resend not in RESENDS:
        message = f"--resend {resend!r}"
        raise UsageFailure(message, help=f"say one of {', '.join(RESENDS)}")
    said = invocation(ctx)
    with opened(said) as store:
        done = adopt(store, resend=resend, until=_time(until), now=clock.now())  # type: ignore[arg-type]  # one of RESENDS
    if as_json:
        times = {"known_until": iso(done.known_until), "sent_until": iso(done.sent_until)}
        render.document("adopt", {**asdict(done), **times})
        return 0
    said.say(
        f"the store knows what happened until {iso(done.known_until)}; messages may have left until {iso(done.sent_until)}"
    )
    said.say(f"{done.in_doubt} messages are in doubt: `flowctl outbox list --state in_doubt`")
    if done.due:
        said.say(
            f"{done.due} contacts had a step due by then: what the next tick finds they should have been sent is "
            f"{'sent' if resend == 'all' else 'in doubt, too'}"
        )
    said.say("import again what was stored meanwhile before the next tick: unsubscribes, bounces, contacts, events")
    return 0


def _time(said: str) -> int | None:
    if not said:
        return None
    try:
        return clock.parse(said)
    except UsageFailure:
        message = f"--until {said!r} is no time"
        raise UsageFailure(message, help="write it as 2026-12-01T09:00:00Z") from None
