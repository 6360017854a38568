"""A mail server for demos: takes every message and keeps it as a file. `python -m flowctl.channels.devserver --dir DIR`.

Each message is `NNNNNN.eml`, as it came, and one line of `envelopes.jsonl`: {"file", "from", "to"}. A message is on disk
before the server says 250. Needs aiosmtpd: `pip install 'flowctl[demo]'`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ENVELOPES = "envelopes.jsonl"
_USAGE_EXIT = 2


class Keeper:
    """Keeps messages in a folder; an aiosmtpd handler."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._kept = len(list(folder.glob("*.eml")))

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name and types
        """Keep a message, then accept it."""
        return f"250 kept as {self.keep(envelope)}"

    def keep(self, envelope: Any) -> str:
        """Write a message and its envelope; returns the file's name."""
        self._kept += 1
        name = f"{self._kept:06d}.eml"
        draft = self._folder / f".{name}.part"
        draft.write_bytes(envelope.original_content or b"")
        draft.replace(self._folder / name)
        line = json.dumps({"file": name, "from": envelope.mail_from, "to": envelope.rcpt_tos})
        with (self._folder / ENVELOPES).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return name


async def serve(make_protocol: Callable[[], asyncio.Protocol], host: str, port: int, **options: Any) -> None:
    """Listen until SIGTERM or SIGINT; port 0 takes a free one. Prints `listening on HOST:PORT` when ready."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, over.set)
    server = await loop.create_server(make_protocol, host, port, **options)
    sys.stdout.write(f"listening on {host}:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    try:
        await over.wait()
    finally:
        server.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns an exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m flowctl.channels.devserver", description="Keep every e-mail as a file."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2525, help="0 takes a free one and prints it")
    parser.add_argument("--dir", type=Path, required=True, help="where the messages go")
    options = parser.parse_args(arguments)
    try:
        from aiosmtpd.smtp import SMTP  # noqa: PLC0415 - an optional extra
    except ImportError:
        sys.stderr.write("the demo's mail server needs aiosmtpd: pip install 'flowctl[demo]'\n")
        return _USAGE_EXIT
    keeper = Keeper(options.dir)
    try:
        asyncio.run(serve(lambda: SMTP(keeper, enable_SMTPUTF8=True, hostname="localhost"), options.host, options.port))
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return _USAGE_EXIT
    return 0


if __name__ == "__main__":
    sys.exit(main())
