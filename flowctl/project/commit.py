"""The git commit a project's files come from, and whether they differ from it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowctl.project.project import Project

UNCOMMITTED = "uncommitted"
_DIRTY = "+dirty"
_TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """An abbreviated hash ('uncommitted' where there is none), and the project's files that differ from it."""

    hash: str
    dirty: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.hash}{_DIRTY}" if self.dirty and self.hash != UNCOMMITTED else self.hash


def is_clean(commit: str) -> bool:
    """Whether what a release carries as its commit is one that holds its very files."""
    return commit != UNCOMMITTED and not commit.endswith(_DIRTY)


def commit_of(project: Project) -> Commit:
    """HEAD of the repository the project lies in, judged by the files that the project is made of."""
    files = sorted({*project.sources, *project.bodies})
    head = _git(project, "rev-parse", "--short", "HEAD")
    if head is None:
        return Commit(hash=UNCOMMITTED, dirty=tuple(files))
    changed = _git(project, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *files) or ""
    # Deleted files are no longer among the project's, and change it too.
    gone = _git(project, "ls-files", "--deleted", "-z", "--", "*.yaml") or ""
    names = [row[3:] for row in changed.split("\0") if row] + [row for row in gone.split("\0") if row]
    return Commit(hash=head.strip(), dirty=tuple(sorted(set(names))))


def last_commits(project: Project) -> dict[str, int]:
    """When each YAML file of the project's folder was last part of a commit, in UTC ms; none where git knows nothing of them."""
    asked = ["--format=%x00%ct", "--name-only", "--relative", "--no-renames", "-z", "--", "*.yaml"]
    rows = iter((_git(project, "-c", "log.showSignature=false", "log", *asked) or "").split("\0"))
    found: dict[str, int] = {}
    at = 0
    for row in rows:
        if row:
            found.setdefault(row.removeprefix("\n"), at)
        else:  # a commit begins: its time, then its files
            at = int(next(rows, "") or 0) * 1000
    return found


def _git(project: Project, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(project.root), *words],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
