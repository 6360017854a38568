"""A project as it was at a revision of its git repository."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from flowctl.failure import UsageFailure
from flowctl.project.find import SETTINGS_FILE, is_excluded
from flowctl.project.load import BODY_BYTES_MAX, load_from
from flowctl.project.origins import TextFiles

if TYPE_CHECKING:
    from pathlib import Path

    from flowctl.project.project import Project

_TIMEOUT_S = 60
_KEPT_UNREAD = ""  # what stands for a file that no project reads: it is only asked whether it is there
_READ = (".yaml", ".mjml", ".html", ".htm", ".md", ".txt", ".json")


def load_revision(root: Path, revision: str, *, environment: str = "") -> Project:
    """Read the project in `root` as it was at a commit, branch or tag.

    Raises:
        UsageFailure: there is no git repository, no such revision, or no project in it then.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        inside = _git(root, "rev-parse", "--git-dir") is not None
        message = f"no revision {revision!r}" if inside else f"{root} is in no git repository"
        raise UsageFailure(message, help="name a commit, branch or tag, as `git log` shows them" if inside else "")
    texts = _texts(root, commit.decode().strip())
    if SETTINGS_FILE not in texts:
        message = f"there was no {SETTINGS_FILE} in this folder at {revision}"
        raise UsageFailure(message)
    first = load_from(TextFiles(texts), root, environment=environment)
    exclude = first.settings.exclude
    if not any(is_excluded(path, exclude) for path in texts):
        return first
    return load_from(
        TextFiles({path: text for path, text in texts.items() if not is_excluded(path, exclude)}),
        root,
        environment=environment,
    )


def _texts(root: Path, commit: str) -> dict[str, str]:
    """Every file below the root by path, but in dot-folders and in projects of their own; only what can be part of a project is read."""
    listed = (_git(root, "ls-tree", "-r", "-l", "-z", commit, "--", ".") or b"").decode(errors="replace")
    sizes: dict[str, tuple[str, int]] = {}
    for row in listed.split("\0"):
        said, _, path = row.partition("\t")
        parts = said.split()
        if path and parts[1] == "blob" and not any(part.startswith(".") for part in path.split("/")):
            sizes[path] = parts[2], int(parts[3])
    others = tuple(path.removesuffix(SETTINGS_FILE) for path in sizes if path.endswith(f"/{SETTINGS_FILE}"))
    mine = {path: said for path, said in sizes.items() if not path.startswith(others)} if others else sizes
    wanted = {path: name for path, (name, size) in mine.items() if path.endswith(_READ) and size <= BODY_BYTES_MAX}
    return dict.fromkeys(mine, _KEPT_UNREAD) | dict(zip(wanted, _blobs(root, list(wanted.values())), strict=True))


def _blobs(root: Path, names: list[str]) -> list[str]:
    """The texts of blobs, all from one process."""
    found = _git(root, "cat-file", "--batch", given="".join(f"{name}\n" for name in names).encode()) or b""
    texts: list[str] = []
    start = 0
    for _ in names:
        head_end = found.index(b"\n", start)
        size = int(found[start:head_end].split()[2])
        texts.append(found[head_end + 1 : head_end + 1 + size].decode(errors="replace"))
        start = head_end + 1 + size + 1
    return texts


def _git(root: Path, *words: str, given: bytes = b"") -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], input=given, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
