"""Where the files of a project are read from: a folder, texts in memory, a folder of which some files have another text."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from flowctl.language.source import BYTES_MAX
from flowctl.project.find import SETTINGS_FILE, files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Origin(Protocol):
    """What can list and read the files of a project."""

    def paths(self, exclude: list[str]) -> Iterator[str]:
        """The resource files, relative to the root."""

    def read(self, path: str, bytes_max: int = BYTES_MAX) -> bytes | str:
        """The bytes of a file, at most one more than allowed, or why it cannot be read."""

    def exists(self, path: str) -> bool:
        """Whether a file is there, inside the project."""


@dataclass(frozen=True, slots=True)
class DiskFiles:
    """The files of a project's folder."""

    root: Path

    def paths(self, exclude: list[str]) -> Iterator[str]:
        """The resource files, relative to the root."""
        return files(self.root, exclude)

    def read(self, path: str, bytes_max: int = BYTES_MAX) -> bytes | str:
        """The bytes of a file, at most one more than allowed, or why it cannot be read."""
        try:
            target = self.root / path
            # A link in the repository must show and send out nothing that lies elsewhere on the machine.
            if target.is_symlink() and not target.resolve().is_relative_to(self.root.resolve()):
                return "it is a link to outside the project"
            if not stat.S_ISREG(target.stat().st_mode):
                return "it is no regular file"
            with target.open("rb") as file:
                return file.read(bytes_max + 1)
        except OSError as error:
            return (error.strerror or str(error)).lower()
        except ValueError as error:
            return str(error)

    def exists(self, path: str) -> bool:
        """Whether a file is there, inside the project."""
        if path.startswith(("../", "/")) or path == ".." or "\0" in path:
            return False
        target = self.root / path
        return target.is_file() and target.resolve().is_relative_to(self.root.resolve())


@dataclass(frozen=True, slots=True)
class TextFiles:
    """Files held in memory."""

    texts: dict[str, str]

    def paths(self, exclude: list[str]) -> Iterator[str]:  # noqa: ARG002 - the shape of its kind
        """The resource files."""
        return (path for path in sorted(self.texts) if path.endswith(".yaml") and path != SETTINGS_FILE)

    def read(self, path: str, bytes_max: int = BYTES_MAX) -> bytes | str:
        """The bytes of a file, or why it cannot be read."""
        return self.texts[path].encode()[: bytes_max + 1] if path in self.texts else "no such file or directory"

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return path in self.texts


@dataclass(frozen=True, slots=True)
class EditedFiles:
    """The files of a project's folder, some with another text than on the disk."""

    disk: DiskFiles
    texts: Mapping[str, str]

    def paths(self, exclude: list[str]) -> Iterator[str]:
        """The resource files."""
        return self.disk.paths(exclude)

    def read(self, path: str, bytes_max: int = BYTES_MAX) -> bytes | str:
        """The bytes of a file, or why it cannot be read."""
        return self.texts[path].encode()[: bytes_max + 1] if path in self.texts else self.disk.read(path, bytes_max)

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return path in self.texts or self.disk.exists(path)
