"""A fast SMTP server that writes down what it accepts, a line each: Message-ID and digest, before it says 250."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from flowctl.channels.devserver import serve
from tests.servers.smtp_sink import Sink

MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([^@>]+)@", re.IGNORECASE | re.MULTILINE)


class Ledger(Sink):
    file: int

    def take(self, text: bytes) -> None:
        found = MESSAGE_ID.search(text)
        key = found[1] if found else b"none"
        os.write(self.file, key + b" " + hashlib.sha256(text).hexdigest().encode() + b"\n")


if __name__ == "__main__":
    Ledger.file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    asyncio.run(serve(Ledger, "127.0.0.1", 0))
