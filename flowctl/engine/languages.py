"""Which of a message's languages a contact is written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ANY_LANGUAGE = "*"


def pick(texts: Mapping[str, Any], language: str | None, languages: Sequence[str]) -> str | None:
    """The key of `texts` for a contact's language: it, its primary tag, the project's in order, any; None if empty."""
    wanted = (language or "").replace("_", "-").lower()
    by_tag = {key.lower(): key for key in texts}
    for tag in (wanted, wanted.partition("-")[0], *(known.lower() for known in languages), ANY_LANGUAGE):
        if tag in by_tag:
            return by_tag[tag]
    return next(iter(texts), None)
