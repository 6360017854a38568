"""The channels of a release, made when first needed, with their secrets from the environment."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowctl.channels.registry import make_channel
from flowctl.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowctl.channels.channel import Channel
    from flowctl.channels.inbox import Shelf
    from flowctl.engine.dkim import Signers
    from flowctl.engine.runtime import Runtime

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_NUMBERS = frozenset({"port", "connections"})
_PATHS = ("path", "ca")
_PRIVATE = 0o077  # bits of a mode that let others in


def channel_maker(runtime: Runtime, base: Path, shelf: Shelf | None = None) -> Channels:
    """The channels by name, each made once. Relative paths in settings count from `base`; `shelf` is what an inbox delivers to."""
    return Channels(runtime, base, shelf)


class Channels:
    """The channels of a release, and who signs what leaves by e-mail."""

    def __init__(self, runtime: Runtime, base: Path, shelf: Shelf | None = None) -> None:
        self._runtime = runtime
        self._base = base
        self._shelf = shelf
        self._made: dict[str, Channel] = {}

    def __call__(self, name: str) -> Channel:
        """A channel.

        Raises:
            Failure: the release has none, a setting makes no sense, a secret or a key is missing.
        """
        if name not in self._made:
            settings = self._runtime.said["channels"].get(name)
            if settings is None:
                message = f"the release has no channel {name}"
                raise Failure(message, help=f"declare `channels: {name}:` in flowctl.yaml and apply it")
            if name == "email":
                _ = self.signers  # where a key cannot be read, that is the channel's failure and no message's
            said = resolved({key: value for key, value in settings.items() if key != "dkim"}, os.environ)
            paths = {key: str(self._base / said[key]) for key in _PATHS if said.get(key)}
            if said["adapter"] == "inbox" and self._shelf is not None:
                said = {**said, "store": self._shelf}
            self._made[name] = make_channel(name, {**said, **paths})
        return self._made[name]

    @functools.cached_property
    def signers(self) -> Signers | None:
        """Who signs for which sender; None where nobody does.

        Raises:
            Failure: a key is missing, unreadable, or none.
        """
        said = self._runtime.said
        if not (said.get("dkim") or said["channels"].get("email", {}).get("dkim")):
            return None
        from flowctl.engine.dkim import signers_of  # noqa: PLC0415 - only where mail is signed

        return signers_of(self._runtime, self._base)


def resolved(said: Any, environ: Mapping[str, str]) -> Any:
    """Settings with each `${NAME}` or `${NAME:-default}` replaced; `${NAME}` may also be a 0600 file that NAME_FILE names.

    Raises:
        Failure: a variable is not set, or its file can be read by others. The value itself is in no message.
    """
    if isinstance(said, dict):
        return {key: _as_number(key, resolved(value, environ)) for key, value in said.items()}
    if isinstance(said, list):
        return [resolved(value, environ) for value in said]
    if not isinstance(said, str):
        return said
    return _VARIABLE.sub(lambda match: _value(match[1], match[2], environ), said)


def _as_number(key: str, value: Any) -> Any:
    """A port or a count that came from the environment; a password of digits stays as it is."""
    return int(value) if key in _NUMBERS and isinstance(value, str) and value.isdigit() else value


def _value(name: str, default: str | None, environ: Mapping[str, str]) -> str:
    if name in environ:
        return environ[name]
    path = environ.get(f"{name}_FILE")
    if path:
        return _from_file(name, Path(path))
    if default is None:
        message = f"the variable {name} is not set, and a channel's settings need it"
        raise Failure(message, help=f"set {name}, or name a file that only you can read in {name}_FILE")
    return default


def _from_file(name: str, path: Path) -> str:
    try:
        if path.stat().st_mode & _PRIVATE:
            message = f"{name}_FILE names {path}, which others can read"
            raise Failure(message, help=f"chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        message = f"{name}_FILE names {path}, which cannot be read: {error.strerror}"
        raise Failure(message) from None
