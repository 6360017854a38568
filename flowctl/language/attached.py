"""Files that messages bring along, as a project holds them beside its texts: base64 behind a mark, so that a release can keep them."""

from __future__ import annotations

from base64 import b64decode, b64encode

FILE_BYTES_MAX = 5 * 1024 * 1024  # providers take about 25 MB, a third of which base64 costs; inboxes like less
LETTER_BYTES_MAX = 10 * 1024 * 1024
_MARK = "data:;base64,"  # as in a data: URL (RFC 2397)


def encoded(content: bytes) -> str:
    """Bytes as text."""
    return _MARK + b64encode(content).decode("ascii")


def is_encoded(text: str) -> bool:
    """Whether this is what `encoded` makes, as read back from a release."""
    return text.startswith(_MARK)


def decoded(text: str) -> bytes:
    """The opposite of `encoded`."""
    return b64decode(text.removeprefix(_MARK))


def encoded_bytes_max() -> int:
    """How long the encoded form of the largest file is."""
    return len(_MARK) + (FILE_BYTES_MAX + 2) // 3 * 4
