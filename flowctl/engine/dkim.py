"""DKIM signatures (RFC 6376): relaxed/relaxed, RSA-SHA256 or Ed25519-SHA256 (RFC 8463), by the key's own kind.

Signing is part of building: both kinds of signature are deterministic and `t=` is the time of the first attempt, so that
a letter that is sent again is the same to the byte.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
from typing import TYPE_CHECKING

from flowctl.channels.address import wire_address
from flowctl.engine.adapters import resolved
from flowctl.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from flowctl.engine.runtime import Runtime

# RFC 6376 §5.4.1, and what RFC 8058 §4 requires of one-click unsubscribing; a header that is not there is left out.
_SIGNED = (
    b"from", b"to", b"subject", b"date", b"message-id", b"reply-to", b"mime-version", b"content-type", b"auto-submitted",
    b"list-unsubscribe", b"list-unsubscribe-post", b"feedback-id",
)  # fmt: skip
# Named once more than they occur, so that nobody on the way can add a second one (RFC 6376 §8.15).
_OVERSIGNED = (b"from", b"to", b"subject")
Keys = dict[str, dict[str, str]]
"""`domain`, `selector` and `key` in PEM by a sender's address, those of the channel under ''."""
RSA_BITS_MIN = 1024  # RFC 8301 §3.2
_PEM = "-----BEGIN"
_PRIVATE = 0o077  # bits of a mode that let others in
_SPACES = re.compile(rb"[ \t]+")
_NEEDLESS = re.compile(
    rb" (?=[ \r])"
)  # a pattern that begins with a plain character is looked for as fast as `replace` does
_BREAKS = re.compile(rb"(?<=:)")
_LINE_CHARS = 72
# As long as what takes their place, so that lines break where they would: ten digits until 2286, 32 bytes in base64.
_TIME, _HASH = b"\0" * 10, b"\1" * 44


class Signer:
    """Signs for one domain and selector."""

    def __init__(self, *, domain: str, selector: str, key: str) -> None:
        """`key` is a private key in PEM.

        Raises:
            ValueError: it is none, or none that DKIM knows.
        """
        self._domain = domain.lower().encode("idna") if not domain.isascii() else domain.lower().encode()
        self._selector = selector.encode()
        self._algorithm, self._sign = _loaded(key)
        self._known: dict[tuple[bytes, ...], tuple[bytes, bytes]] = {}

    def __repr__(self) -> str:
        return f"Signer({self._selector.decode()}._domainkey.{self._domain.decode()})"

    def signed(self, mail: bytes, *, at: int) -> bytes:
        """A mail (RFC 5322 bytes with CRLF) with its signature in front; `at` is UTC milliseconds."""
        head, _, body = mail.partition(b"\r\n\r\n")
        present = _headers(head)
        names = tuple(filter(present.__contains__, _SIGNED))
        body_hash = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest())
        folded, signed = self._shapes(names)
        # The second mention of a header that occurs once stands for nothing (RFC 6376 §5.4.2).
        said = (at // 1000, body_hash)
        signature = base64.b64encode(self._sign(signed % (*map(present.__getitem__, names), *said)))
        cut = [signature[start : start + _LINE_CHARS] for start in range(0, len(signature), _LINE_CHARS)]
        return b"DKIM-Signature: " + folded % said + b"\r\n ".join([b"", *cut]) + b"\r\n" + mail

    def _shapes(self, names: tuple[bytes, ...]) -> tuple[bytes, bytes]:
        """The header up to `b=`, folded; and what is signed, which is the headers named and then this one.

        Both have places for the time and the hash of the body, the second in front of them for the headers' values.
        Folded before it is signed: a fold is a space to whoever verifies. What stands behind `b=` is not signed.
        """
        if names not in self._known:
            mentions = b":".join([*names, *filter(names.__contains__, _OVERSIGNED)])
            folded = _folded((
                b"v=1", b"a=" + self._algorithm, b"c=relaxed/relaxed", b"d=" + self._domain, b"s=" + self._selector, b"t=" + _TIME,
                b"h=" + mentions, b"bh=" + _HASH, b"b=",
            ))  # fmt: skip
            said, relaxed = (
                part.replace(b"%", b"%%").replace(_TIME, b"%d", 1).replace(_HASH, b"%b", 1)
                for part in (folded, _relaxed(_unfolded(folded)))
            )
            self._known[names] = said, b"".join(name + b":%b\r\n" for name in names) + b"dkim-signature:" + relaxed
        return self._known[names]


class Signers:
    """Who signs for which sender, by keys as `keys_of` gives them; nobody for one that has none."""

    def __init__(self, keys: Keys) -> None:
        """Raises ValueError where a key is none."""
        self.keys = keys
        self._made = {address and wire_address(address).lower(): Signer(**said) for address, said in keys.items()}

    def of(self, address: str) -> Signer | None:
        """The signer for a sender's address as it goes over the wire: its own, else the channel's."""
        return self._made.get(address.lower()) or self._made.get("")


def signers_of(runtime: Runtime, base: Path, environ: Mapping[str, str] | None = None) -> Signers | None:
    """The signers of a release, by each sender's `dkim:` and that of the e-mail channel; relative paths count from `base`.

    Raises:
        Failure: a key is missing, unreadable, or none.
    """
    wanted = {address: said for address, said in runtime.said.get("dkim", {}).items() if said.get("key")}
    own = runtime.said["channels"].get("email", {}).get("dkim") or {}
    if own.get("key"):
        wanted[""] = own
    keys = {
        address: {"domain": said["domain"], "selector": said["selector"], "key": _key(said["key"], base, environ)}
        for address, said in wanted.items()
    }
    try:
        return Signers(keys) if keys else None
    except ValueError as error:
        message = f"dkim: {error}"
        raise Failure(message, help=_HOW) from None


def _key(said: str, base: Path, environ: Mapping[str, str] | None) -> str:
    key: str = resolved(said, os.environ if environ is None else environ).strip()
    return key if key.startswith(_PEM) else _from_file(base / key)


_HOW = "make one with `openssl genrsa -out dkim.pem 2048`; `key:` is the path of that file, or its content as ${NAME}"


def _from_file(path: Path) -> str:
    try:
        if path.stat().st_mode & _PRIVATE:
            message = f"the DKIM key {path} can be read by others"
            raise Failure(message, help=f"chmod 600 {path}")
        return path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no PEM file"
        message = f"the DKIM key {path.name} cannot be read: {why}"
        raise Failure(message, help=_HOW) from None


def _loaded(pem: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    try:  # 40 ms, only where mail is signed, and an optional extra
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    except ImportError:
        message = "signing needs the library cryptography: pip install 'flowctl[dkim]'"
        raise ValueError(message) from None
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        message = "`key` is no private key in PEM, or one with a password"  # never the key's own words
        raise ValueError(message) from None
    if isinstance(key, Ed25519PrivateKey):
        return b"ed25519-sha256", lambda data: key.sign(hashlib.sha256(data).digest())  # RFC 8463 §3
    if isinstance(key, RSAPrivateKey):
        if key.key_size < RSA_BITS_MIN:
            message = f"an RSA key of {key.key_size} bits, which nobody accepts; take 2048"
            raise ValueError(message)
        scheme, digest = padding.PKCS1v15(), SHA256()
        return b"rsa-sha256", lambda data: key.sign(data, scheme, digest)
    message = "`key` is neither an RSA nor an Ed25519 key"
    raise ValueError(message)


def relaxed_body(body: bytes) -> bytes:
    """A body as RFC 6376 §3.4.4 hashes it."""
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    if b"\t" in body:
        body = body.replace(b"\t", b" ")
    body = _NEEDLESS.sub(b"", body)
    end = len(body)
    while body[:end].endswith(b"\r\n"):
        end -= 2
    return body[:end] + b"\r\n" if end else b""


def _headers(head: bytes) -> dict[bytes, bytes]:
    """The headers by lower-case name, relaxed (RFC 6376 §3.4.2); of one name, which ours never repeat, the last."""
    return dict(map(_header, _unfolded(head).split(b"\r\n")))


@functools.lru_cache(maxsize=1_000)  # most headers of a batch of letters are the same
def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip().lower(), _relaxed(value)


def _unfolded(head: bytes) -> bytes:
    return head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")


def _relaxed(value: bytes) -> bytes:
    if b"  " in value or b"\t" in value:  # looking costs less than the pattern does
        value = _SPACES.sub(b" ", value)
    return value.strip(b" \t")


def _folded(tags: tuple[bytes, ...]) -> bytes:
    """The tags in lines of about 72 characters, broken between tags and behind the `:` of `h=`."""
    words = [part for tag in tags[:-1] for part in _words(tag + b";")] + [tags[-1]]
    lines, line = [], b""
    for word in words:
        joint = b" " if line.endswith(b";") else b""
        if line and len(line) + len(joint) + len(word) > _LINE_CHARS:
            lines.append(line)
            line, joint = b"", b""
        line += joint + word
    return b"\r\n ".join([*lines, line])


def _words(tag: bytes) -> list[bytes]:
    return _BREAKS.split(tag) if tag.startswith(b"h=") else [tag]
