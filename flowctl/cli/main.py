"""The entry point: the table of commands, each loaded only when it is called, and the global options."""

from __future__ import annotations

import gc
import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group, get_install_completion_arguments

from flowctl import __version__
from flowctl.cli import failure
from flowctl.cli.invocation import Invocation

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: dict[str, tuple[str, str, str]] = {
    # name: (section, module, one line of help)
    "validate": ("Check", "flowctl.cli.validate", "Say whether the files can run: syntax, values, names."),
    "lint": ("Check", "flowctl.cli.lint", "Judge the workflows: complexity, pressure, consent, style."),
    "pressure": ("Check", "flowctl.cli.pressure", "Show the most messages that one contact can get, and really got."),
    "split": ("Check", "flowctl.cli.split", "Cut a long workflow in two, at a step."),
    "rule": ("Check", "flowctl.cli.rule", "Explain a lint rule: what, why, example, what to do."),
    "test": ("Check", "flowctl.cli.test", "Run scenario tests on a virtual clock."),
    "schema": ("Check", "flowctl.cli.schema", "Write JSON Schemas, so that editors complete the files."),
    "providers": ("Check", "flowctl.cli.providers", "List HTTP providers of channels; show one's description."),
    "simulate": ("Check", "flowctl.cli.simulate", "Run all workflows on a copy with a virtual clock; nothing leaves."),
    "diff": ("Release", "flowctl.cli.diff", "Tell what a change in git means, not which lines moved."),
    "plan": ("Release", "flowctl.cli.plan", "Show what applying the files would do, to contacts in flight too."),
    "apply": ("Release", "flowctl.cli.apply", "Store the files as a release; ticks run it from then on."),
    "rollback": ("Release", "flowctl.cli.rollback", "Apply an earlier release again, as a new one."),
    "releases": ("Release", "flowctl.cli.releases", "List what was applied, when, from which commit."),
    "workflows": ("Release", "flowctl.cli.workflows", "List workflows; pause, resume, drain, stop them by hand."),
    "state": ("Release", "flowctl.cli.state", "Export counts, to plan in CI without the store."),
    "tick": ("Run", "flowctl.cli.tick", "Run one bounded batch: observe, enrol, advance, send. For cron."),
    "enroll": ("Run", "flowctl.cli.enroll", "Put a contact into a workflow by hand."),
    "outbox": ("Run", "flowctl.cli.outbox", "List messages to leave; settle those in doubt."),
    "contacts": ("Data", "flowctl.cli.contacts", "Import, list, show, set, export, suppress, forget contacts."),
    "events": ("Data", "flowctl.cli.events", "Import events, or add one."),
    "bounces": ("Data", "flowctl.cli.bounces", "Import bounces and complaints from a mailbox."),
    "coupons": ("Data", "flowctl.cli.coupons", "Import coupon codes, and see how many are left."),
    "segments": ("Data", "flowctl.cli.segments", "List segments, count and list who is in."),
    "records": ("Data", "flowctl.cli.records", "List, export and import records: opportunities, tickets."),
    "tasks": ("Data", "flowctl.cli.tasks", "List what people are asked to do; say it is done."),
    "audiences": ("Data", "flowctl.cli.audiences", "List advertising audiences; export one, hashed."),
    "inbox": ("Data", "flowctl.cli.inbox", "List what the app or site shows a contact; mark it seen."),
    "messages": ("Data", "flowctl.cli.messages", "Render a message for a contact; send a real test of it."),
    "explain": ("Ask", "flowctl.cli.explain", "Tell one contact's story: every send, hold and skip, and why."),
    "report": ("Ask", "flowctl.cli.report", "Show a workflow's funnel, conversion, messages and versions."),
    "status": ("Ask", "flowctl.cli.status", "Show the store at a glance: in flight, due, last tick, trouble."),
    "audit": ("Ask", "flowctl.cli.audit", "Add everything up and find no difference."),
    "doctor": ("Operate", "flowctl.cli.doctor", "Look for trouble: store, disk, clock, ticks, providers, backlog."),
    "schedule": ("Operate", "flowctl.cli.schedule", "Write the lines that run ticks from cron or systemd."),
    "backup": ("Operate", "flowctl.cli.backup", "Copy the store while it is in use."),
    "store": ("Operate", "flowctl.cli.store", "Let a restored store send again."),
}
GARBAGE_THRESHOLD = 100_000  # Python's 700 makes it search the modules being loaded again and again: 15 ms a start
GROUPS = frozenset({"outbox", "bounces", "contacts", "events", "segments", "coupons", "workflows", "messages", "records", "tasks", "audiences", "state", "providers", "store"})  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for plugins nobody has costs 11 ms a start
    gc.set_threshold(GARBAGE_THRESHOLD)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names need not be UTF-8, nor terminals
            stream.reconfigure(errors="backslashreplace")
    return failure.status(
        lambda: _command().main(
            list(sys.argv[1:] if arguments is None else arguments), prog_name="flowctl", standalone_mode=False
        )
    )


class LazyGroup(TyperGroup):
    """A group whose commands are stubs with a line of help until one is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the module of the command that was called."""
        name = args[0]
        if name in COMMANDS:
            return name, load(name), args[1:]
        if not name.startswith("-"):
            raise failure.unknown_command(name, COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the shape of its kind
        """List the commands by section, without loading one."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for name, (section, _, line) in COMMANDS.items():
            rows.setdefault(section, []).append((name, line))
        width = max(len(name) for name in COMMANDS)
        for section, listed in rows.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), line) for name, line in listed])


def load(name: str) -> Any:
    """The command of a name, its module imported: a function `command`, or for a group a typer.Typer `app`."""
    module = import_module(COMMANDS[name][1])
    if name in GROUPS:
        loaded: Any = get_group(module.app)
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(module.command)
        loaded = get_command(app)
    loaded.name = name
    loaded.epilog = loaded.epilog or _examples(module)
    loaded.help = _described(loaded.help) or COMMANDS[name][2]
    _make_plain(loaded)
    return loaded


def _examples(module: Any) -> str | None:
    text: str = getattr(module, "EXAMPLES", "")
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in text.strip().splitlines()) if text else None


class _Given:
    """Stands before typer's conversion of a parameter: most are not given, or are text already.

    typer builds a pydantic adapter for each of them, 1 to 2 ms a piece: a tenth of what `lint` takes to start.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value as it is where there is nothing to convert, else what typer makes of it."""
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        if param.type_descriptor.annotation is str and isinstance(value, str) and not several:
            return value
        param._runtime_param = None  # noqa: SLF001 - typer then builds its own; pyproject.toml pins the version this is true of
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


_GIVEN = _Given()


def _make_plain(command: Any) -> None:
    """Plain help everywhere: rich costs 50 ms, and its markup eats square brackets."""
    command.rich_markup_mode = None
    for param in command.params:
        if getattr(param, "type_descriptor", None) is not None:
            param._runtime_param = _GIVEN  # noqa: SLF001 - see _Given
    for inner in getattr(command, "commands", {}).values():
        inner.help = _described(inner.help)
        _make_plain(inner)


def _described(text: str | None) -> str:
    """A docstring without its sections for programmers."""
    return (text or "").partition("\n\nRaises:")[0]


def _command() -> Any:
    app = typer.Typer(
        cls=LazyGroup,
        name="flowctl",
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_root)
    group = get_group(app)
    _make_plain(group)
    group.commands = {
        name: TyperCommand(name, help=line, rich_markup_mode=None) for name, (_, _, line) in COMMANDS.items()
    }
    group.params.extend(get_install_completion_arguments())
    return group


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"flowctl {__version__}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    directory: Annotated[
        str, typer.Option("-C", metavar="DIR", help="Work in this folder's project instead of the current one's.")
    ] = "",
    environment: Annotated[
        str,
        typer.Option(
            "--env", metavar="NAME", envvar="FLOWCTL_ENV", help="Lay this block of `environments:` over the settings."
        ),
    ] = "",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but results and errors.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more about what happens.")] = False,
    version: Annotated[  # noqa: ARG001 - the shape of its kind
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Marketing automation for people who work in git.

    Workflows, segments and messages are YAML files; flowctl checks them, plans and applies them, and runs them from cron.
    """
    ctx.obj = Invocation(directory=Path(directory or os.curdir), environment=environment, quiet=quiet, verbose=verbose)
