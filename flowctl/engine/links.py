"""Signed links: what a message carries so that the receiver knows who clicked, and nobody can forge it.

A token is deterministic, so that a message built again is the same to the byte, and does not expire: an unsubscribe
link has to work for as long as the mail lies in somebody's inbox.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from binascii import b2a_base64
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from itsdangerous import Signer

Purpose = Literal["unsubscribe", "preferences", "survey"]
PATHS: dict[Purpose, str] = {"unsubscribe": "u", "preferences": "p", "survey": "s"}
_PARTS = 4
_URL_SAFE = bytes.maketrans(b"+/", b"-_")  # RFC 4648 §5


class Claim(NamedTuple):
    """What a link says: which message of whom, on which channel, about which topic."""

    key: str
    contact_id: int
    channel: str
    topic: str | None  # of a survey link: the survey


class Links:
    """Makes and reads the links of one store; `secret` is the store's, `public_url` where the receiver is reached."""

    def __init__(self, *, secret: str, public_url: str) -> None:
        self._public_url = public_url.rstrip("/")
        self._secret = secret
        self._signers: dict[Purpose, Signer] = {}
        self._keyed: dict[Purpose, hmac.HMAC] = {}

    def __repr__(self) -> str:
        return f"Links({self._public_url!r})"

    def url(self, purpose: Purpose, claim: Claim) -> str:
        """The link of a claim."""
        # Not URLSafeSerializer: it compresses, and what zlib makes differs between machines. Nor Signer.sign, whose result
        # this is: a letter is signed in a tenth of the time that a mail program needs for a line of it.
        topic = "null" if claim.topic is None else _quoted(claim.topic)
        said = f"[{_quoted(claim.key)},{claim.contact_id},{_quoted(claim.channel)},{topic}]"
        value = _base64(said.encode())
        token = value + b"." + _base64(self._signature(purpose, value))
        return f"{self._public_url}/{PATHS[purpose]}/{token.decode()}"

    def read(self, purpose: Purpose, token: str) -> Claim | None:
        """The claim of a token, or None where it is forged, cut, or made for another purpose."""
        from itsdangerous import BadData  # noqa: PLC0415 - as above
        from itsdangerous.encoding import base64_decode  # noqa: PLC0415 - as above

        try:
            parts = json.loads(base64_decode(self._signer(purpose).unsign(token)))
        except (BadData, ValueError):
            return None
        if not isinstance(parts, list) or len(parts) != _PARTS:
            return None
        key, contact_id, channel, topic = parts
        return Claim(key=key, contact_id=contact_id, channel=channel, topic=topic)

    def _signer(self, purpose: Purpose) -> Signer:
        """SHA-256 with a salt of its own for each purpose: a token for one is no token for another."""
        if purpose not in self._signers:
            from itsdangerous import Signer  # noqa: PLC0415 - only where a link is read
            from itsdangerous.signer import HMACAlgorithm  # noqa: PLC0415 - the same

            self._signers[purpose] = Signer(
                self._key(purpose), key_derivation="none", algorithm=HMACAlgorithm(hashlib.sha256)
            )
        return self._signers[purpose]

    def _signature(self, purpose: Purpose, value: bytes) -> bytes:
        """The HMAC of a value; its key is derived and scheduled once, which is most of the time of a signature."""
        if purpose not in self._keyed:
            self._keyed[purpose] = hmac.new(self._key(purpose), digestmod="sha256")
        keyed = self._keyed[purpose].copy()
        keyed.update(value)
        return keyed.digest()

    def _key(self, purpose: Purpose) -> bytes:
        return hmac.digest(self._secret.encode(), f"flowctl.{purpose}".encode(), "sha256")


def _base64(value: bytes) -> bytes:
    return b2a_base64(value, newline=False).translate(_URL_SAFE).rstrip(b"=")
