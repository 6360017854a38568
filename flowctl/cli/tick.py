"""`flowctl tick`: one batch, for cron."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from flowctl import clock
from flowctl.cli.invocation import Invocation, invocation

if TYPE_CHECKING:
    from pathlib import Path

    from flowctl.engine.deliver import Delivery
    from flowctl.engine.tick import TickReport
    from flowctl.store.database import Store

EXAMPLES = """\
flowctl tick                       for cron; `flowctl schedule` writes the line
flowctl tick --dry-run             what would leave, without sending or storing anything
flowctl tick --limit 100           at most 100 messages leave; the next tick goes on
flowctl tick --loop 60             go on until SIGTERM, a tick every 60 seconds
flowctl tick --confirm-backlog     send, although far more is due than usual
"""
INTERRUPTED = 130
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def command(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Work on a copy in memory; nothing leaves.")] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="At most so many messages leave.", min=1, show_default=False),
    ] = None,
    loop: Annotated[
        float, typer.Option("--loop", metavar="SECONDS", help="Go on, a tick every so many seconds.", min=0)
    ] = 0.0,
    confirm_backlog: Annotated[
        bool, typer.Option("--confirm-backlog", help="Send, although far more marketing is due than usual.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Run one bounded batch: observe, enrol, advance, send.

    Ticks may overlap or come late: each thing happens once. A tick that finds another one running exits 75. Exits 1 where a provider
    refused everything, or where far more marketing is due than usual and nobody confirmed it: then that waits, and everything else goes on.
    SIGTERM ends it after the batch in hand, with the same exit status as ever; Ctrl-C likewise, with 130. A second one ends it at once.
    """
    from flowctl.cli.store import opened

    said = invocation(ctx)
    with _Stop() as stop, opened(said) as store:
        _check_environment(store, said.environment)
        while True:
            report = _tick(store, stop, said.root(), limit=limit, dry_run=dry_run, unasked=confirm_backlog)
            _show(said, report, as_json=as_json, dry_run=dry_run)
            if not loop or stop.wait(loop):
                break
            confirm_backlog = False  # that was for what was due then
    if stop.interrupted:
        return INTERRUPTED
    return 1 if report.refusals or report.backlog else 0


class _Stop:
    """SIGTERM and SIGINT: finish the batch in hand, then end. The second one ends the process as it would any other."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._delivery: Delivery | None = None
        self.interrupted = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: object) -> None:
        self.interrupted = number == signal.SIGINT
        self._asked.set()
        if self._delivery is not None:
            self._delivery.stopped = True
        for again in SIGNALS:
            signal.signal(again, signal.SIG_DFL)

    def asked(self) -> bool:
        """Whether the end was asked for."""
        return self._asked.is_set()

    def watch(self, delivery: Delivery) -> None:
        """A delivery begins."""
        self._delivery = delivery
        delivery.stopped = self.asked()

    def wait(self, seconds: float) -> bool:
        """Sleep, or return True where the end was asked for."""
        return self._asked.wait(seconds)


def _check_environment(store: Store, named: str) -> None:
    """Raises UsageFailure where --env names another environment than the release was applied with: its `only_to` would protect nobody."""
    if not named:
        return
    from flowctl.failure import UsageFailure
    from flowctl.report.releases import newest

    release = newest(store)
    if release is not None and release.environment != named:
        message = f"release {release.id} was applied for {release.environment or 'no environment'}, not for `{named}`"
        raise UsageFailure(message, help=f"a tick runs what was applied: say `flowctl --env {named} apply` first")


def _tick(store: Store, stop: _Stop, root: Path, *, limit: int | None, dry_run: bool, unasked: bool) -> TickReport:
    from flowctl.engine.tick import tick

    if not dry_run:
        return tick(
            store,
            clock=clock.now,
            on_delivery=stop.watch,
            base=root,
            limit=limit,
            unasked=unasked,
            stopped=stop.asked,
        )
    from flowctl.channels.recording import RecordingChannel
    from flowctl.engine.compiled import CHANNELS
    from flowctl.engine.runtime import Experiment

    copy = store.snapshot()
    try:
        return tick(
            copy,
            clock=clock.now,
            channels=dict.fromkeys(CHANNELS, RecordingChannel()),
            on_delivery=stop.watch,
            experiment=Experiment(),
            limit=limit,
            unasked=unasked,
            stopped=stop.asked,
        )
    finally:
        copy.close()


def _show(said: Invocation, report: TickReport, *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        from flowctl.cli import render

        render.document("tick", asdict(report))
    else:
        said.say(_line(asdict(report), dry_run=dry_run))
    if report.unfinished:
        said.say(
            "warning: workflows start each other without time passing between: `flowctl lint` shows where (FLO004)"
        )
    if report.clock_behind_ms:
        said.say(
            f"warning: the clock is {report.clock_behind_ms / 1000:.0f} s behind the last tick; time stands still until it has caught up"
        )
    if report.stopped:
        said.say("stopped after the batch in hand, as asked; the next tick goes on")
    if report.backlog:
        _warn(
            f"{report.backlog.due} marketing messages are due, and up to {report.backlog.usual_max} at once are usual: none of them left. "
            "`flowctl outbox list --state ready` shows them; `flowctl tick --confirm-backlog` sends them"
        )
    for workflow, found in report.guarded.items():
        said.say(f"warning: workflow {workflow}: {found}; look into it, then `flowctl workflows resume {workflow}`")
    for channel, reply in report.refusals.items():
        _warn(f"{channel}: the provider refuses everything for now: {reply}")


def _warn(text: str) -> None:
    """What makes the exit status 1 is said with -q, too: cron then mails it."""
    print(f"warning: {text}", file=sys.stderr)


def _line(counts: dict[str, Any], *, dry_run: bool) -> str:
    words = (
        "entered",
        "advanced",
        "ended",
        "sent",
        "notified",
        "held",
        "skipped",
        "retried",
        "failed",
        "in_doubt",
        "recovered",
    )
    parts = [f"{counts[word]} {word.replace('_', ' ')}" for word in words if counts[word]]
    return f"{'would have: ' if dry_run else ''}{', '.join(parts) or 'nothing to do'}"
