"""Where a project is, and which files belong to it."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SETTINGS_FILE = "flowctl.yaml"


def find(start: Path) -> Path:
    """The folder that holds flowctl.yaml: `start` or the nearest one above it.

    Raises:
        UsageFailure: there is none.
    """
    folder = start.resolve()
    if not folder.is_dir():
        message = f"{start} is no folder"
        raise UsageFailure(message, help="give the project's folder to -C")
    for candidate in (folder, *folder.parents):
        if (candidate / SETTINGS_FILE).is_file():
            return candidate
    message = f"no {SETTINGS_FILE} in {folder} or any folder above it"
    raise UsageFailure(message, help="go to a project's folder, or name one: flowctl -C DIR …")


def files(root: Path, exclude: Sequence[str] = ()) -> Iterator[str]:
    """Every .yaml file of a project but flowctl.yaml, sorted, as paths relative to it with forward slashes.

    Folders that begin with a dot, folders that are projects of their own and what `exclude` matches are left out. A
    pattern names a path (`drafts/*.yaml`, `node_modules`) or, without a slash, a name anywhere.
    """
    for folder, names, found in os.walk(root):
        here = Path(folder).relative_to(root).as_posix()
        prefix = "" if here == "." else f"{here}/"
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(".")
            and not (Path(folder) / name / SETTINGS_FILE).is_file()
            and not is_excluded(prefix + name, exclude)
        )
        for name in sorted(found):
            path = prefix + name
            if (
                name.endswith(".yaml")
                and not name.startswith(".")
                and path != SETTINGS_FILE
                and not is_excluded(path, exclude)
            ):
                yield path


def misnamed(root: Path, exclude: Sequence[str] = ()) -> list[str]:
    """Files that end in .yml, which flowctl does not read."""
    found: list[str] = []
    for folder, names, inside in os.walk(root):
        names[:] = [
            name for name in names if not name.startswith(".") and not (Path(folder) / name / SETTINGS_FILE).is_file()
        ]
        for name in inside:
            path = (Path(folder) / name).relative_to(root).as_posix()
            if name.endswith(".yml") and not name.startswith(".") and not is_excluded(path, exclude):
                found.append(path)
    return sorted(found)


def is_excluded(path: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern of `exclude:` matches a path."""
    name = path.rpartition("/")[2]
    for pattern in patterns:
        wanted = pattern.strip("/")
        if (
            fnmatchcase(path, wanted)
            or ("/" not in wanted and fnmatchcase(name, wanted))
            or path.startswith(f"{wanted}/")
        ):
            return True
    return False
