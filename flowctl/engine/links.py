"""Signed links: what a message carries so that the receiver knows who clicked, and nobody can forge it.

A token is deterministic, so that a message built again is the same to the byte, and does not expire: an unsubscribe
link has to work for as long as the mail lies in somebody's inbox.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from itsdangerous import Signer

Purpose = Literal["unsubscribe", "preferences", "survey"]
PATHS: dict[Purpose, str] = {"unsubscribe": "u", "preferences": "p", "survey": "s"}
_PARTS = 4
_ENCODER = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
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

    def __repr__(self) -> str:
        return f"Links({self._public_url!r})"

    def url(self, purpose: Purpose, claim: Claim) -> str:
        """The link of a claim."""
        from itsdangerous.encoding import base64_encode  # noqa: PLC0415 - only where something is sent

        # Not URLSafeSerializer: it compresses, and what zlib makes differs between machines.
        said = _ENCODER.encode([claim.key, claim.contact_id, claim.channel, claim.topic])
        token = self._signer(purpose).sign(base64_encode(said)).decode()
        return f"{self._public_url}/{PATHS[purpose]}/{token}"

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
            from itsdangerous import Signer  # noqa: PLC0415 - as above
            from itsdangerous.signer import SigningAlgorithm  # noqa: PLC0415 - as above

            # Derived and scheduled once, not once a signature: that is most of its time.
            key = hmac.digest(self._secret.encode(), f"flowctl.{purpose}".encode(), "sha256")
            keyed = hmac.new(key, digestmod="sha256")

            class Keyed(SigningAlgorithm):
                """HMAC-SHA-256 with the one key of this signer."""

                def get_signature(self, _key: bytes, value: bytes) -> bytes:
                    signature = keyed.copy()
                    signature.update(value)
                    return signature.digest()

            self._signers[purpose] = Signer(key, key_derivation="none", algorithm=Keyed())
        return self._signers[purpose]
