"""`flowctl tick`: one batch, for cron."""

from __future__ import annotations

import signal
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowctl import clock
from flowctl.cli.invocation import Invocation, invocation

if TYPE_CHECKING:
    from pathlib import Path

    from flowctl.engine.deliver import Delivery
    from flowctl.engine.tick import TickReport
    from flowctl.store.database import Store

EXAMPLES = """\
flowctl tick                       for cron: */5 * * * * flowctl -C /srv/shop tick
flowctl tick --dry-run             what would leave, without sending or storing anything
flowctl tick --loop 60             go on until SIGTERM, a tick every 60 seconds
"""


def command(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Work on a copy in memory; nothing leaves.")] = False,
    loop: Annotated[
        float, typer.Option("--loop", metavar="SECONDS", help="Go on, a tick every so many seconds.", min=0)
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Run one bounded batch: observe, enrol, advance, send.

    Ticks may overlap or come late: each thing happens once. A tick that finds another one running exits 75. Exits 1 where a provider
    refused everything.
    """
    from flowctl.cli.store import opened

    said = invocation(ctx)
    stop = _Stop()
    with opened(said) as store:
        while True:
            report = _tick(store, stop, said.root(), dry_run=dry_run)
            _show(said, report, as_json=as_json, dry_run=dry_run)
            if not loop or stop.wait(loop):
                return 1 if report.refusals else 0


class _Stop:
    """SIGTERM: finish the letters in hand, then end."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._delivery: Delivery | None = None
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_: object) -> None:
        self._asked.set()
        if self._delivery is not None:
            self._delivery.stopped = True

    def watch(self, delivery: Delivery) -> None:
        """A delivery begins."""
        self._delivery = delivery
        delivery.stopped = self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, or return True where the end was asked for."""
        return self._asked.wait(seconds)


def _tick(store: Store, stop: _Stop, root: Path, *, dry_run: bool) -> TickReport:
    from flowctl.engine.tick import tick

    if not dry_run:
        return tick(store, clock=clock.now, on_delivery=stop.watch, base=root)
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
    for workflow, found in report.guarded.items():
        said.say(f"warning: workflow {workflow}: {found}; `flowctl workflows list` tells whether it is paused")
    for channel, reply in report.refusals.items():
        said.say(f"warning: {channel}: the provider refuses everything for now: {reply}")


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
