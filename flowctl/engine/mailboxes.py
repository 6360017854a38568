"""Mails out of a Maildir, a folder of .eml files, an mbox file, one mail's file, or a pipe; nothing in them is changed."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAIL_BYTES_MAX = 2 * 1024 * 1024  # what a report says stands in front of the message that it returns
MAILDIR = ("new", "cur")


def mails(place: Path) -> Iterator[tuple[str, bytes | None]]:
    """Name and bytes of each mail, in order of name; None where a file cannot be read.

    Raises:
        UsageFailure: there is no such mailbox, or the folder is none.
    """
    if not place.is_dir():
        try:
            file = place.open("rb")
        except OSError as error:
            message = f"{place} cannot be read: {error.strerror}"
            raise UsageFailure(message, help="name a Maildir, an mbox file, or - for standard input") from None
        return _closing(file, str(place))
    if all((place / name).is_dir() for name in MAILDIR):
        return _files([path for name in MAILDIR for path in (place / name).iterdir()], place)
    found = list(place.glob("*.eml"))
    if not found:
        message = f"{place} is no Maildir: it has no folders `new` and `cur`, and no .eml files"
        raise UsageFailure(message, help="name a Maildir, an mbox file, or - for standard input")
    return _files(found, place)


def split(stream: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    """The mails of an mbox (a line that begins with `From ` after an empty one begins the next), or the one mail of a stream."""
    parts: list[bytes] = []
    number, size, after_empty = 0, 0, True
    boxed: bool | None = None
    for line in stream:
        if boxed is None:
            boxed = line.startswith(b"From ")
        if boxed and after_empty and line.startswith(b"From "):
            if number:
                yield f"{name} #{number}", b"".join(parts)
            number, parts, size = number + 1, [], 0
        elif size < MAIL_BYTES_MAX:
            parts.append(line[:MAIL_BYTES_MAX])
            size += len(line)
        after_empty = line in (b"\n", b"\r\n")
    if boxed is not None:
        yield f"{name} #{number}" if boxed else name, b"".join(parts)


def _closing(file: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    with file:
        yield from split(file, name)


def _files(paths: list[Path], folder: Path) -> Iterator[tuple[str, bytes | None]]:
    for path in sorted(path for path in paths if not path.name.startswith(".")):
        name = path.relative_to(folder).as_posix()
        try:
            with path.open("rb") as file:
                yield name, file.read(MAIL_BYTES_MAX)
        except OSError:
            yield name, None
