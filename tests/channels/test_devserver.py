from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flowctl.channels import devserver
from flowctl.channels.registry import make_channel
from tests.conformance.letters import a_letter
from tests.servers.running import start, stop


def test_it_keeps_what_it_is_sent(tmp_path):
    server = start(Path(devserver.__file__), tmp_path / "mails", "--port", "0", "--dir", str(tmp_path / "mails"))
    try:
        connection = make_channel("email", server.settings()).open()
        for name in ("ana", "bob"):
            assert connection.transmit(a_letter(name), lambda: True).outcome == "sent"
        connection.close()
    finally:
        stop(server)
    assert server.process.returncode == 0
    assert [envelope["to"] for envelope in server.envelopes()] == [["ana@example.com"], ["bob@example.com"]]
    assert server.raw() == [a_letter("ana").payload, a_letter("bob").payload]


def test_a_taken_port_is_said_in_one_line(tmp_path, plain_smtp_server):
    command = [
        sys.executable,
        "-m",
        "flowctl.channels.devserver",
        "--dir",
        str(tmp_path),
        "--port",
        str(plain_smtp_server.port),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cannot listen on 127.0.0.1:{plain_smtp_server.port}: ")
    assert len(done.stderr.splitlines()) == 1
