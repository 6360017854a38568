"""HTML in ASCII: character references (`&#233;`) for what is beyond, so that a mail stands as it was written and is legible everywhere."""

from __future__ import annotations

import re
from functools import lru_cache

BASE64_GROWTH = 4 / 3 * 78 / 76  # four characters for three bytes, and a line end for every 76
# Half surrogate pairs, and controls whose numbers HTML takes for those of Windows-1252 (§13.2.5.80 of its standard).
UNSHOWN = re.compile("[\x80-\x9f\ud800-\udfff]")
_NAME_CHARS = 64


def in_references(html: str) -> str:
    """A piece of HTML in ASCII; as it is where a reference would mean another character, or where base64 of a long one is shorter."""
    if html.isascii():
        return html
    if len(html) < _NAME_CHARS:
        return _name_in_references(html)
    made = _written(html)
    return made if len(made) <= len(html.encode("utf-8", "replace")) * BASE64_GROWTH else html


@lru_cache(maxsize=4_096)  # those of people and products come again
def _name_in_references(html: str) -> str:
    return _written(html)


def _written(html: str) -> str:
    return html if UNSHOWN.search(html) else html.encode("ascii", "xmlcharrefreplace").decode()
