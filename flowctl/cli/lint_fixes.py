"""`flowctl lint --fix` and `--diff`: the findings mended in the files, or shown as they would be."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from flowctl.cli import render
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowctl.cli.invocation import Invocation
    from flowctl.lint.fixing import Mended
    from flowctl.lint.report import Report
    from flowctl.project.project import Project

_BOM = b"\xef\xbb\xbf"


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
            _write_file((root / path).resolve(), text)
        except OSError as error:
            message = f"{path} cannot be written: {(error.strerror or str(error)).lower()}"
            raise UsageFailure(message, help="nothing in it was changed; mend that, and run it again") from None


def _write_file(path: Path, text: str) -> None:
    before = path.read_bytes()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write((_BOM if before.startswith(_BOM) else b"") + text.encode())
        Path(name).chmod(path.stat().st_mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def told(done: Mended, *, unsafe: bool) -> str:
    """What was mended, and what could be besides, for the line that sums up."""
    said = f"; fixed {render.plural(len(done.fixed), 'finding')} in {render.plural(len(done.texts), 'file')}"
    return f"{said}{_left(done, unsafe=unsafe)}"


def show(said: Invocation, before: Project, done: Mended, *, unsafe: bool) -> int:
    """Print the edits as a diff; the exit status is 1 where there are any."""
    _print_diff(before, done)
    if done.texts:
        would = f"would fix {render.plural(len(done.fixed), 'finding')} in {render.plural(len(done.texts), 'file')}"
        said.say(f"{would}{_left(done, unsafe=unsafe)}; nothing was written")
    else:
        said.say(f"nothing to fix{_left(done, unsafe=unsafe)}")
    return 1 if done.texts else 0


def _left(done: Mended, *, unsafe: bool) -> str:
    count = done.report.fixable(safe=False)
    return f"; {count} more with --unsafe-fixes" if count and not unsafe else ""


def _print_diff(before: Project, done: Mended) -> None:
    """The edits as a unified diff, which `git apply` and `patch -p1` take."""
    import difflib

    coloured = render.colour()
    for path in sorted(done.texts):
        old = before.sources.get(path, before.bodies.get(path, ""))
        rows = difflib.unified_diff(_rows(old), _rows(done.texts[path]), f"a/{path}", f"b/{path}")
        for row in rows:
            print(_painted(row.rstrip("\n"), on=coloured))
            if not row.endswith("\n"):
                print("\\ No newline at end of file")


def _rows(text: str) -> list[str]:
    """Lines with their ends, cut at line feeds alone, as patches are."""
    *rows, last = text.split("\n")
    return [*(f"{row}\n" for row in rows), *([last] if last else [])]


def _painted(row: str, *, on: bool) -> str:
    shade = {"+": "32", "-": "31", "@": "36"}.get(row[:1])
    return f"\033[{shade}m{row}\033[0m" if on and shade and not row.startswith(("+++", "---")) else row
