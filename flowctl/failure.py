"""The one exception tree: failures that end a command, each with what to do and an exit status.

Failure                 2   cannot go on: configuration, files, store
├── UsageFailure        2   the command line asks for something that makes no sense
├── ProblemsFound       2   files with faults, where a command wanted to act on them
└── Busy               75   another flowctl holds the store; try again later (EX_TEMPFAIL of sysexits.h)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.language.problem import Problem


class Failure(Exception):
    """A command cannot go on; `help` says what to do."""

    exit_code = 2

    def __init__(self, message: str, *, help: str = "") -> None:  # noqa: A002 - the word users see
        super().__init__(message)
        self.message = message
        self.help = help


class UsageFailure(Failure):
    """The command line asks for something that makes no sense."""


class ProblemsFound(Failure):
    """Files have faults and the command was to act on them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(
            f"{len(problems)} problem{'' if len(problems) == 1 else 's'} in the project's files",
            help="mend them; `flowctl validate` lists them",
        )
        self.problems = tuple(problems)


class Busy(Failure):
    """Another process holds the store."""

    exit_code = 75
