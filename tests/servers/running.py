"""Start and stop the server processes of the tests."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Server:
    host: str
    port: int
    folder: Path
    process: subprocess.Popen

    def envelopes(self) -> list[dict]:
        """What was accepted, in order: {"file", "from", "to"}."""
        file = self.folder / "envelopes.jsonl"
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []

    def recipients(self) -> list[str]:
        return [address for envelope in self.envelopes() for address in envelope["to"]]

    def raw(self) -> list[bytes]:
        return [(self.folder / envelope["file"]).read_bytes() for envelope in self.envelopes()]

    def messages(self):
        return [message_from_bytes(raw, policy=policy.default) for raw in self.raw()]

    def settings(self, **more) -> dict:
        """Channel settings that reach it."""
        return {"adapter": "smtp", "host": self.host, "port": self.port, "timeout": 5, **more}


def start(program: Path, folder: Path, *arguments: str) -> Server:
    """Start a server program of this folder on a free port and wait until it listens."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, program, *arguments], stdout=subprocess.PIPE, stderr=log)
    line = process.stdout.readline().decode()
    if not line.startswith("listening on "):
        process.kill()
        process.wait()
        process.stdout.close()
        message = f"{program.name} did not start: {(folder / 'server.log').read_text()}"
        raise RuntimeError(message)
    host, _, port = line.removeprefix("listening on ").strip().rpartition(":")
    return Server(host=host, port=int(port), folder=folder, process=process)


def stop(server: Server) -> None:
    server.process.terminate()
    try:
        server.process.wait(5)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
    server.process.stdout.close()


@contextlib.contextmanager
def smtp(folder: Path, *arguments: str):
    """An SMTP server; see smtp_server.py for its arguments."""
    server = start(HERE / "smtp_server.py", folder, "--dir", str(folder), *arguments)
    try:
        yield server
    finally:
        stop(server)


@contextlib.contextmanager
def sink(folder: Path):
    """A server that throws away."""
    server = start(HERE / "smtp_sink.py", folder)
    try:
        yield server
    finally:
        stop(server)


@contextlib.contextmanager
def ledger(folder: Path):
    """A server that writes what it accepts into `ledger` in a folder; see smtp_ledger.py."""
    folder.mkdir(parents=True, exist_ok=True)
    server = start(HERE / "smtp_ledger.py", folder, str(folder / "ledger"))
    try:
        yield server
    finally:
        stop(server)


@pytest.fixture
def smtp_server(tmp_path):
    """A function that starts SMTP servers: `server = smtp_server("--drop", "dot")`; all stop with the test."""
    with contextlib.ExitStack() as stack:
        count = iter(range(100))

        def begin(*arguments: str) -> Server:
            return stack.enter_context(smtp(tmp_path / f"smtp{next(count)}", *arguments))

        yield begin


@pytest.fixture(scope="session")
def plain_smtp_server(tmp_path_factory):
    """One well-behaved server for all tests that only look at their own recipients."""
    with smtp(tmp_path_factory.mktemp("smtp")) as server:
        yield server
