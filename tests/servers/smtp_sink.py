"""An SMTP server that throws everything away, as fast as asyncio can: for measuring what sends to it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from flowctl.channels.devserver import serve


class Sink(asyncio.Protocol):
    def __init__(self) -> None:
        self._text = False
        self._rest = b""

    def connection_made(self, transport) -> None:
        self._transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while data:
            if self._text:
                end = data.find(b"\r\n.\r\n")
                if end < 0:
                    break
                self.take(data[:end])
                data, self._text = data[end + 5 :], False
                self._transport.write(b"250 gone\r\n")
                continue
            line, newline, after = data.partition(b"\r\n")
            if not newline:
                break
            data = after
            verb = line[:4].upper()
            if verb == b"DATA":
                self._text = True
                self._transport.write(b"354 go\r\n")
            elif verb == b"QUIT":
                self._transport.write(b"221 bye\r\n")
                self._transport.close()
            else:
                self._transport.write(b"250 ok\r\n")
        self._rest = data

    def take(self, text: bytes) -> None:
        """Throw it away, before the reply."""


if __name__ == "__main__":
    asyncio.run(serve(Sink, "127.0.0.1", 0))
