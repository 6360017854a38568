"""What was said before the command's name: where, in which environment, how loud."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    import typer

    from flowctl.project.project import Project


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """The global options, at hand in every command as `ctx.obj`."""

    directory: Path = field(default_factory=Path.cwd)
    environment: str = ""
    quiet: bool = False
    verbose: bool = False

    def root(self) -> Path:
        """The project's folder. Raises UsageFailure where there is none."""
        from flowctl.project.find import find

        return find(self.directory)

    def project(self) -> Project:
        """The project read, faults included. Raises UsageFailure where there is none."""
        from flowctl.project.load import load

        return load(self.root(), environment=self.environment)

    def inside(self, path: str) -> str:
        """A path given on the command line as one relative to the project's folder.

        Raises:
            UsageFailure: it does not exist, or lies outside.
        """
        root = self.root().resolve()
        target = (self.directory / path).resolve()
        if not target.exists():
            message = f"{path}: no such file or folder"
            raise UsageFailure(message)
        if not target.is_relative_to(root):
            message = f"{path} is not in the project {root}"
            raise UsageFailure(message, help="name files below the folder of flowctl.yaml")
        return target.relative_to(root).as_posix()

    def say(self, text: str) -> None:
        """Talk to the person: on stderr, and not with -q."""
        if not self.quiet:
            from flowctl.cli.render import printable_lines

            print(printable_lines(text), file=sys.stderr)


def invocation(ctx: typer.Context) -> Invocation:
    """The global options of a command's context."""
    found = ctx.find_object(Invocation)
    return found if found is not None else Invocation()
