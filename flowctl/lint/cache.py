"""What lint found the last time, for as long as nothing that it looked at has changed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowctl import __version__, clock
from flowctl.language.problem import Edit, Fix, Place, Problem, Related
from flowctl.language.source import BYTES_MAX
from flowctl.lint.report import Report
from flowctl.project.origins import DiskFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = ".flowctl_cache"
KEPT_MAX = 10  # one a way of asking; the oldest go
_IGNORED = "# What `flowctl lint` found the last time. Delete it whenever you like.\n*\n"
_CODE = ("language", "program", "project", "lint")  # the packages that judge


@dataclass(kw_only=True, slots=True)
class WatchedFiles:
    """The files of a project's folder, with a record of what was asked of them and what was found."""

    disk: DiskFiles
    exclude: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    read_: dict[str, tuple[int, str]] = field(default_factory=dict)  # the most bytes asked for, and a digest of them
    present: dict[str, bool] = field(default_factory=dict)

    def paths(self, exclude: list[str]) -> Iterator[str]:
        """The resource files."""
        self.exclude, self.listed = list(exclude), list(self.disk.paths(exclude))
        return iter(self.listed)

    def read(self, path: str, bytes_max: int = BYTES_MAX) -> bytes | str:
        """The bytes of a file, or why it cannot be read."""
        said = self.disk.read(path, bytes_max)
        self.read_[path] = (bytes_max, _digest(said))
        return said

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        self.present[path] = self.disk.exists(path)
        return self.present[path]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recalled:
    """A report as it was, and the texts of the files as they are."""

    report: Report
    texts: dict[str, str]
    baseline: str | None  # the file that flowctl.yaml names


class Cache:
    """The reports of one project, by what was asked: options and environment."""

    def __init__(self, root: Path, asked: Mapping[str, Any]) -> None:
        self._root = root
        self._folder = root / FOLDER
        key = json.dumps([__version__, sys.version_info[:3], _code(), dict(asked)], sort_keys=True, default=str)
        self._file = self._folder / f"lint-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def recall(self) -> Recalled | None:
        """The report, where every file is as it was, none has come or gone, and it is the same day and commit."""
        try:
            said = json.loads(self._file.read_bytes())
            disk = DiskFiles(self._root)
            if said["moment"] != _moment(self._root) or list(disk.paths(said["exclude"])) != said["listed"]:
                return None
            texts = {}
            for path, (bytes_max, digest) in said["read"].items():
                data = disk.read(path, bytes_max)
                if _digest(data) != digest:
                    return None
                if isinstance(data, bytes) and (text := _text(data)) is not None:
                    texts[path] = text
            if any(disk.exists(path) != there for path, there in said["present"].items()):
                return None
            return Recalled(report=_report(said["report"]), texts=texts, baseline=said["baseline"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None  # not there, of another make, or cut short: all is looked at anew

    def remember(self, watched: WatchedFiles, report: Report, baseline: str | None) -> None:
        """Keep a report made without a baseline; where that is not possible, nothing happens."""
        said = {
            "moment": _moment(self._root),
            "exclude": watched.exclude,
            "listed": watched.listed,
            "read": watched.read_,
            "present": watched.present,
            "baseline": baseline,
            "report": asdict(report),
        }
        try:
            self._folder.mkdir(exist_ok=True)
            (self._folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
            new = self._file.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")
            new.replace(self._file)
            kept = sorted(self._folder.glob("lint-*"), key=lambda file: file.stat().st_mtime, reverse=True)
            for old in kept[KEPT_MAX:]:
                old.unlink(missing_ok=True)
        except (OSError, ValueError):  # a folder that cannot be written; a lone surrogate in a text
            return


def _digest(data: bytes | str) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest() if isinstance(data, bytes) else f"not read: {data}"


def _text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _code() -> list[tuple[str, int]]:
    """What tells one state of the judging code from another: each module's time."""
    package = Path(__file__).parents[1]
    return sorted(
        (str(file.relative_to(package)), file.stat().st_mtime_ns)
        for name in _CODE
        for file in (package / name).rglob("*.py")
    )


def _moment(root: Path) -> list[str]:
    """What rules ask beside the files: the date, and from what commit on the history is told."""
    day = datetime.fromtimestamp(clock.now() / 1000, UTC).date().isoformat()
    return [day, *_head(root)]


def _head(root: Path) -> Iterator[str]:
    """The commit of the repository around a folder, as git's own files tell it; a linked work tree's HEAD names only its branch."""
    for folder in (root, *root.parents):
        git = folder / ".git"
        if git.is_file():
            git = (folder / git.read_text(encoding="utf-8").partition("gitdir:")[2].strip()).resolve()
        if (git / "HEAD").is_file():
            head = (git / "HEAD").read_text(encoding="utf-8").strip()
            yield head
            common = git / "commondir"
            shared = (git / common.read_text(encoding="utf-8").strip()).resolve() if common.is_file() else git
            named = shared / head.removeprefix("ref: ")
            packed = shared / "packed-refs"
            if head.startswith("ref: ") and named.is_file():
                yield named.read_text(encoding="utf-8").strip()
            elif packed.is_file():
                yield str(packed.stat().st_mtime_ns)
            return


def _report(said: dict[str, Any]) -> Report:
    return Report(**{**said, "findings": tuple(_problem(problem) for problem in said["findings"])})


def _problem(said: dict[str, Any]) -> Problem:
    fix = said["fix"]
    return Problem(
        **{
            **said,
            "place": Place(**said["place"]),
            "related": tuple(Related(place=Place(**one["place"]), label=one["label"]) for one in said["related"]),
            "detail": tuple(said["detail"]),
            "fix": fix
            and Fix(
                title=fix["title"],
                safe=fix["safe"],
                edits=tuple(Edit(place=Place(**edit["place"]), text=edit["text"]) for edit in fix["edits"]),
            ),
        }
    )
