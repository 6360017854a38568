"""`flowctl lint --fix` and `--diff`: the findings mended in the files, or shown as they would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.cli import render
from flowctl.cli.files import rewrite
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from flowctl.cli.invocation import Invocation
    from flowctl.lint.fixing import Mended
    from flowctl.lint.report import Report
    from flowctl.project.project import Project


def mended(said: Invocation, project: Project, judge: Callable[[Project], Report], *, unsafe: bool) -> Mended:
    """The project with every fix made, in memory."""
    from flowctl.lint.fixing import mend
    from flowctl.project.load import load_edited

    def reread(texts: Mapping[str, str]) -> Project:
        return load_edited(texts, project.root, environment=said.environment)

    return mend(project, judge=judge, reread=reread, unsafe=unsafe)


def write(root: Path, done: Mended) -> None:
    """Write the files that changed, each at once or not at all; their byte order marks and permissions stay.

    Raises:
        UsageFailure: a file cannot be written; those before it are.
    """
    for path, text in done.texts.items():
        try:
            rewrite((root / path).resolve(), text)
        except OSError as error:
            message = f"{path} cannot be written: {(error.strerror or str(error)).lower()}"
            raise UsageFailure(message, help="nothing in it was changed; mend that, and run it again") from None


def told(done: Mended, *, unsafe: bool) -> str:
    """What was mended, and what could be besides, for the line that sums up."""
    said = f"; fixed {render.plural(len(done.fixed), 'finding')} in {render.plural(len(done.texts), 'file')}"
    return f"{said}{_left(done, unsafe=unsafe)}"


def show(said: Invocation, before: Project, done: Mended, *, unsafe: bool) -> int:
    """Print the edits as a diff; the exit status is 1 where there are any."""
    for path in sorted(done.texts):
        render.diff(path, before.sources.get(path, before.bodies.get(path)), done.texts[path])
    if done.texts:
        would = f"would fix {render.plural(len(done.fixed), 'finding')} in {render.plural(len(done.texts), 'file')}"
        said.say(f"{would}{_left(done, unsafe=unsafe)}; nothing was written")
    else:
        said.say(f"nothing to fix{_left(done, unsafe=unsafe)}")
    return 1 if done.texts else 0


def _left(done: Mended, *, unsafe: bool) -> str:
    count = done.report.fixable(safe=False)
    return f"; {count} more with --unsafe-fixes" if count and not unsafe else ""
