"""The only place where an exception becomes text on stderr and an exit status.

0 fine, 1 findings, failed rows or tests, 2 usage, configuration or files that cannot be read, 70 a fault of flowctl itself,
75 busy, 130 interrupted, 141 nobody reads the output any more.
"""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from typer import Abort, Exit, TyperException

from flowctl.failure import Failure, ProblemsFound, UsageFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

USAGE = 2
INTERNAL = 70
BUSY = 75
INTERRUPTED = 130
PIPE_CLOSED = 141
PROBLEMS_SHOWN_MAX = 20


def status(run: Callable[[], object]) -> int:
    """Run a command and give its exit status; whatever it raises is said on stderr, without a traceback."""
    try:
        code = run()
        sys.stdout.flush()
    except (KeyboardInterrupt, Exit) as stop:
        return stop.exit_code if isinstance(stop, Exit) else INTERRUPTED
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as stop:
        closed = type(sys.stdout).__name__ == "PacifyFlushWrapper"  # what typer leaves behind when the pipe is closed
        return _nobody_reads() if closed else stop.code if isinstance(stop.code, int) else USAGE
    except Exception as fault:
        if os.environ.get("FLOWCTL_TRACEBACK"):
            raise
        return _report(fault)
    return code if isinstance(code, int) else 0


def unknown_command(name: str, known: Iterable[str]) -> UsageFailure:
    """What to raise for a command that does not exist, with the nearest one that does."""
    near = get_close_matches(name, list(known), n=1)
    return UsageFailure(
        f"there is no command `{name}`",
        help=f"did you mean `flowctl {near[0]}`?" if near else "`flowctl --help` lists the commands",
    )


def _report(fault: Exception) -> int:
    if isinstance(fault, Failure):
        if isinstance(fault, ProblemsFound):
            _draw(fault)
        _say(fault.message, fault.help)
        return fault.exit_code
    if isinstance(fault, Abort):
        _say("stopped")
        return INTERRUPTED
    if isinstance(fault, TyperException):
        return _usage(fault)
    if code := _of_the_store(fault):
        return code
    if isinstance(fault, OSError) and fault.filename is not None:
        _say(f"{fault.filename}: {(fault.strerror or str(fault)).lower()}")
        return USAGE
    return _internal(fault)


def _usage(fault: TyperException) -> int:
    context = getattr(fault, "ctx", None)
    if type(fault).__name__ == "NoArgsIsHelpError":
        print(fault.format_message(), file=sys.stderr)
        return USAGE
    message = fault.format_message().rstrip(".")
    _say(
        message[:1].lower() + message[1:],
        f"`{context.command_path} --help` shows how it is used" if context is not None else "",
    )
    return fault.exit_code if fault.exit_code != 1 else USAGE


def _of_the_store(fault: Exception) -> int:
    """The exit status of a failure of SQLite, said in one line; 0 where it is none."""
    sqlite3 = sys.modules.get("sqlite3")
    if sqlite3 is None or not isinstance(fault, sqlite3.DatabaseError):
        return 0
    if isinstance(fault, sqlite3.OperationalError) and ("locked" in str(fault) or "busy" in str(fault)):
        _say("the store is locked by another program", "try again when it has finished")
        return BUSY
    if isinstance(fault, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return 0
    _say(f"the store cannot be used: {fault}", "check the file named by `store:`, its rights and the room on its disk")
    return USAGE


def _internal(fault: Exception) -> int:
    frame = fault.__traceback__
    where = ""
    while frame is not None:
        path = Path(frame.tb_frame.f_code.co_filename)
        if "flowctl" in path.parts:
            where = f" ({'/'.join(path.parts[path.parts.index('flowctl') :])}:{frame.tb_lineno})"
        frame = frame.tb_next
    _say(
        f"flowctl itself is at fault: {type(fault).__name__}: {fault}{where}",
        "run it again with FLOWCTL_TRACEBACK=1 and report what it prints",
    )
    return INTERNAL


def _draw(fault: ProblemsFound) -> None:
    from flowctl.cli.render import concise

    for problem in fault.problems[:PROBLEMS_SHOWN_MAX]:
        print(concise(problem), file=sys.stderr)
    if len(fault.problems) > PROBLEMS_SHOWN_MAX:
        print(f"… and {len(fault.problems) - PROBLEMS_SHOWN_MAX} more", file=sys.stderr)


def _say(message: str, help_: str = "") -> None:
    from flowctl.cli.render import printable_lines

    red, bold, off = ("\033[1;31m", "\033[1m", "\033[0m") if _colour() else ("", "", "")
    print(f"{red}error:{off} {printable_lines(message)}", file=sys.stderr)
    if help_:
        print(f"{bold}help:{off} {printable_lines(help_)}", file=sys.stderr)


def _colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _nobody_reads() -> int:
    """Leave quietly; what is still buffered goes nowhere, or Python would complain at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(nowhere, stream.fileno())
        except (OSError, ValueError):  # a stream that is no file, as under a test
            continue
    return PIPE_CLOSED
