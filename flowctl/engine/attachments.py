"""What e-mails bring along: files of the project, kept by their digest, and what `fetch` saved for one contact.

A fetched attachment is a JSON object: `{"name": "invoice.pdf", "type": "application/pdf", "base64": "…"}`; `type` may be
left out, and follows from the name then.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import mimetypes
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowctl.engine import mime
from flowctl.language.attached import LETTER_BYTES_MAX, decoded, is_encoded

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping

_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}")
_UNKNOWN_TYPE = "application/octet-stream"
# What a mail program takes apart or shows as part of the mail itself is sent as bytes like any other.
_STRUCTURED = ("multipart/", "message/")
_BAD_IN_NAMES = re.compile(r'[/\\:*?"<>|]')
NAME_CHARS_MAX = 120
_END_CHARS_MAX = 10  # of `.pdf` and its like, which a long name keeps


class BadAttachment(ValueError):
    """What was fetched is no attachment; the message says why, and holds none of its content."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attached:
    """One attachment of one letter."""

    name: str
    type: str
    content: bytes


def of_file(path: str, text: str) -> tuple[dict[str, Any], bytes]:
    """What a snapshot says of a file, and its bytes; `text` is how the project holds it."""
    content = decoded(text)
    name = posixpath.basename(path)
    said = {"name": file_name(name), "type": _type_of(name), "digest": hashlib.sha256(content).hexdigest()}
    return said, content


def files_of(snapshots: Iterable[Mapping[str, Any]], texts: Mapping[str, str]) -> Iterator[bytes]:
    """The bytes of every file that messages attach, of all the texts of a project."""
    wanted = {
        said["digest"]
        for snapshot in snapshots
        for channels in (snapshot.get("channels", {}), *snapshot.get("variants", {}).values())
        for said in channels.get("email", {}).get("attach", ())
        if "digest" in said
    }
    for text in texts.values() if wanted else ():
        if is_encoded(text) and hashlib.sha256(content := decoded(text)).hexdigest() in wanted:
            yield content


def keep(connection: sqlite3.Connection, contents: Iterable[bytes]) -> None:
    """Put files into the store; a release names them by digest."""
    connection.executemany(
        "INSERT INTO attachments (digest, content) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING",
        [(hashlib.sha256(content).hexdigest(), content) for content in contents],
    )


def kept(connection: sqlite3.Connection) -> Callable[[str], bytes | None]:
    """Files of the store by digest; the last few stay in memory, for a campaign sends the same one to everybody."""

    @functools.lru_cache(maxsize=4)
    def content(digest: str) -> bytes | None:
        row = connection.execute("SELECT content FROM attachments WHERE digest = ?", (digest,)).fetchone()
        return bytes(row[0]) if row else None

    return content


def fetched(path: list[str], data: Mapping[str, Any]) -> Attached:
    """The attachment that `data` holds under a path.

    Raises:
        BadAttachment: it holds none there.
    """
    where = ".".join(["data", *path])
    value: Any = data
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, dict):
        message = f'no attachment in {where}: it must be {{"name", "type", "base64"}}'
        raise BadAttachment(message)
    name, encoded, type_ = value.get("name"), value.get("base64"), value.get("type")
    if not isinstance(name, str) or not file_name(name):
        message = f"the attachment in {where} has no `name`"
        raise BadAttachment(message)
    if type_ is not None and not (isinstance(type_, str) and _TYPE.fullmatch(type_.lower())):
        message = f"the attachment in {where} has a `type` that is none, such as application/pdf"
        raise BadAttachment(message)
    try:
        content = base64.b64decode(encoded if isinstance(encoded, str) else "!", validate=True)
    except (binascii.Error, ValueError):
        message = f"the attachment in {where}: `base64` is none"
        raise BadAttachment(message) from None
    kind = type_.lower() if type_ else _type_of(name)
    return Attached(name=file_name(name), type=_UNKNOWN_TYPE if kind.startswith(_STRUCTURED) else kind, content=content)


def parts(
    attach: Iterable[Mapping[str, Any]], data: Mapping[str, Any], files: Callable[[str], bytes | None]
) -> list[bytes]:
    """The MIME parts of a letter's attachments, as a snapshot's `attach` says.

    Raises:
        BadAttachment: one cannot be had, or all together are too much.
    """
    made, total = [], 0
    for said in attach:
        if "from" in said:
            one = fetched(said["from"], data)
            total += len(one.content)
            made.append(part(one))
            continue
        content = files(said["digest"])
        if content is None:
            message = f"the file {said['name']} is not in the store: `flowctl apply` brings it"
            raise BadAttachment(message)
        total += len(content)
        made.append(_file_part(said["name"], said["type"], said["digest"], content))
    if total > LETTER_BYTES_MAX:
        message = f"its attachments are {total:,} bytes together, over the limit of {LETTER_BYTES_MAX:,}"
        raise BadAttachment(message)
    return made


def part(attached: Attached) -> bytes:
    """A MIME part in base64, its file name by RFC 2231 where it is not plain ASCII."""
    return mime.attachment(name=attached.name, type_=attached.type, content=attached.content)


# Encoding a file takes longer than all the rest of a letter; a key by digest spares hashing the bytes again.
_PARTS: dict[tuple[str, str, str], bytes] = {}
_PARTS_MAX = 4


def _file_part(name: str, type_: str, digest: str, content: bytes) -> bytes:
    key = (name, type_, digest)
    if key not in _PARTS:
        if len(_PARTS) >= _PARTS_MAX:
            _PARTS.clear()
        _PARTS[key] = part(Attached(name=name, type=type_, content=content))
    return _PARTS[key]


def file_name(name: str) -> str:
    """A name that can be a file's anywhere: one line, no path, nothing that a shell or a header takes for more."""
    clean = _BAD_IN_NAMES.sub("_", mime.cleaned(name)).strip(". ")
    if len(clean) > NAME_CHARS_MAX:
        end = posixpath.splitext(clean)[1][:_END_CHARS_MAX]
        clean = clean[: NAME_CHARS_MAX - len(end)] + end
    return clean


def _type_of(name: str) -> str:
    guessed, encoding = mimetypes.guess_type(name)
    return _UNKNOWN_TYPE if guessed is None or encoding or guessed.startswith(_STRUCTURED) else guessed
