"""`flowctl schedule`: the lines that make cron or systemd run ticks and backups."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowctl.cli.invocation import invocation
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from flowctl.cli.invocation import Invocation

EXAMPLES = """\
flowctl schedule >> mycron && crontab mycron
flowctl schedule --every 2 --backup /backup/shop.db
flowctl schedule --systemd
"""
HOUR_MIN = 60
BACKUP_AT = (3, 17)  # hour, minute: when few messages leave, and not when everybody's cron runs
TIMEOUT_STOP_S = 600  # longer than the reply to one letter may take; then systemd kills, and the next tick mends


def command(
    ctx: typer.Context,
    every: Annotated[int, typer.Option("--every", metavar="MINUTES", help="How often a tick runs.", min=1, max=60)] = 5,
    systemd: Annotated[bool, typer.Option("--systemd", help="A service and a timer instead of cron lines.")] = False,
    backup: Annotated[
        str, typer.Option("--backup", metavar="FILE", help="Also copy the store there every night.", show_default=False)
    ] = "",
) -> int:
    """Write the lines that run ticks from cron, or the units for systemd; nothing is installed.

    Ticks may overlap: the second finds the first and leaves, exit 75. Secrets belong into the crontab's or the unit's environment, or
    into 0600 files that NAME_FILE variables name.
    """
    if HOUR_MIN % every:
        message = f"cron cannot say every {every} minutes: an hour is no multiple of it"
        raise UsageFailure(message, help="say 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60")
    said = invocation(ctx)
    target = str((said.directory / backup).resolve()) if backup else ""
    print(_units(said, every, target) if systemd else _crontab(said, every, target))
    return 0


def _words(said: Invocation, *words: str) -> list[str]:
    """A command line that works whatever PATH and folder it is started with."""
    beside = Path(sys.executable).with_name("flowctl")
    program = [str(beside)] if beside.exists() else [sys.executable, "-m", "flowctl"]
    environment = ["--env", said.environment] if said.environment else []
    return [*program, "-C", str(said.root().resolve()), *environment, *words]


def _crontab(said: Invocation, every: int, backup: str) -> str:
    minutes = "0" if every == HOUR_MIN else "*" if every == 1 else f"*/{every}"
    # -q: cron mails whatever is said, and then that is trouble.
    lines = [(f"{minutes} * * * *", _words(said, "-q", "tick"))]
    if backup:
        hour, minute = BACKUP_AT
        lines.append((f"{minute} {hour} * * *", _words(said, "-q", "backup", backup)))
    # cron reads % as the end of the line.
    return "\n".join(f"{when} {shlex.join(words)}".replace("%", r"\%") for when, words in lines)


def _units(said: Invocation, every: int, backup: str) -> str:
    name = said.root().resolve().name
    hour, minute = BACKUP_AT
    parts = [_service(name, "tick", _words(said, "-q", "tick")), _timer(name, "tick", f"*:0/{every}")]
    if backup:
        parts += [
            _service(name, "backup", _words(said, "-q", "backup", backup)),
            _timer(name, "backup", f"*-*-* {hour:02}:{minute:02}"),
        ]
    return "\n".join(parts).rstrip("\n")


def _service(project: str, what: str, words: list[str]) -> str:
    # 75: another tick runs, which is no failure. A SIGTERM finishes the batch in hand.
    return f"""\
# ~/.config/systemd/user/{_unit(project, what)}.service
[Unit]
Description=flowctl {what} of {_escaped(project)}

[Service]
Type=oneshot
ExecStart={" ".join(map(_quoted, words))}
SuccessExitStatus=75
TimeoutStopSec={TIMEOUT_STOP_S}
"""


def _timer(project: str, what: str, when: str) -> str:
    unit = _unit(project, what)
    return f"""\
# ~/.config/systemd/user/{unit}.timer; then: systemctl --user enable --now {unit}.timer
[Unit]
Description=flowctl {what} of {_escaped(project)}

[Timer]
OnCalendar={when}
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def _unit(project: str, what: str) -> str:
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in project)
    return f"flowctl-{plain}-{what}"


def _escaped(text: str) -> str:
    """Text in a unit file, where % begins a specifier."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    r"""A word of ExecStart=, by systemd.service(5): quoted, with \\, ", $ and % escaped."""
    escaped = _escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"' if not escaped or any(char in escaped for char in " \t'\";") else escaped
