"""The channels of a release, made when first needed, with their secrets from the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowctl.channels.registry import make_channel
from flowctl.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowctl.channels.channel import Channel
    from flowctl.engine.runtime import Runtime

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_NUMBERS = frozenset({"port", "connections"})
_PATHS = ("path", "ca")
_PRIVATE = 0o077  # bits of a mode that let others in


def channel_maker(runtime: Runtime, base: Path) -> Callable[[str], Channel]:
    """A function from a channel's name to the channel; each is made once. Relative paths in settings count from `base`."""
    made: dict[str, Channel] = {}

    def channel(name: str) -> Channel:
        if name not in made:
            settings = runtime.said["channels"].get(name)
            if settings is None:
                message = f"the release has no channel {name}"
                raise Failure(message, help=f"declare `channels: {name}:` in flowctl.yaml and apply it")
            said = resolved(settings, os.environ)
            paths = {key: str(base / said[key]) for key in _PATHS if said.get(key)}
            made[name] = make_channel(name, {**said, **paths})
        return made[name]

    return channel


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
