"""Values of contacts shown on a terminal or piped on: nothing in them drives it, hides text, or breaks a line."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from flowctl.store import consents, contacts
from flowctl.store.database import open_store, transaction
from tests.shop import NOW, Shop

# ESC and CSI sequences, the same as one C1 character, OSC (sets the title, the clipboard), backspaces, line ends, directions.
EVIL = "A\x1b[2Jn\x9b31ma\x1b]0;pwned\x07\x1b]52;c;cm0=\x07\b\b\r\nX\u202eevil\u2066\u200f\u2028Z\x85\x7f"
DRIVES = re.compile("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
OUR_COLOURS = re.compile("\x1b\\[[0-9;]*m")  # what we and rich paint with


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A store in which everything a person can say is evil."""
    made = Shop(tmp_path_factory.mktemp("shop"), people=1)
    with transaction(made.connection):
        evil = contacts.create(
            made.connection,
            {"key": f"k{EVIL}", "email": "evil@example.com", "first_name": EVIL, "owner": EVIL},
            origin=0,
            now=NOW,
        )
        said = consents.Statement(contact_id=evil, channel="email", granted=True, at=NOW - 1, source=EVIL)
        consents.record(made.connection, [said], now=NOW)
        contacts.change(made.connection, evil, {"first_name": EVIL[::-1]}, now=NOW)
        contacts.change(made.connection, evil, {"first_name": EVIL}, now=NOW)
    made.happens("bought", evil, NOW + 1, json.dumps({"amount": 200, "note": EVIL}))
    made.ticks(NOW + 4 * 3_600_000)
    made.connection.execute(
        "UPDATE outbox SET state = 4, ready_at = NULL, settled_at = 1, reply = ?, reason = ?", (EVIL, EVIL)
    )
    made.store.close()
    (made.root / "messages.yaml").write_text(
        (made.root / "messages.yaml").read_text().replace('text: "Thanks.', 'text: "Thanks {{ contact.first_name }}.')
    )
    return made.root


COMMANDS = [
    ["contacts", "list", "--fields", "all"],
    ["contacts", "show", "evil@example.com"],
    ["contacts", "show", "evil@example.com", "--json"],
    ["contacts", "export"],
    ["contacts", "export", "--format", "json"],
    ["contacts", "export", "--format", "ndjson"],
    ["contacts", "export", "evil@example.com"],
    ["contacts", "set", f"k{EVIL}", f"nope{EVIL}=1"],
    ["contacts", "show", EVIL],
    ["contacts", "list", "--segment", EVIL],
    ["explain", "evil@example.com"],
    ["explain", "evil@example.com", "--json"],
    ["explain", EVIL],
    ["outbox", "list"],
    ["outbox", "list", "--json"],
    ["outbox", "resolve", EVIL, "--sent"],
    ["segments", "members", EVIL],
    ["messages", "render", "thank-you", "--contact", "evil@example.com"],
    ["enroll", EVIL, "--contact", EVIL],
    ["records", "list"],
    ["audit"],
    ["status"],
    [EVIL],
]


def run(shop, command, *, terminal):
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    environ.pop("FLOWCTL_STORE", None)
    program = [sys.executable, "-m", "flowctl", "-C", str(shop), *command]
    if not terminal:
        done = subprocess.run(program, capture_output=True, check=False, env=environ)
        return (done.stdout + done.stderr).decode()
    ours, theirs = pty.openpty()
    done = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        parts.append(part)
    done.wait()
    os.close(ours)
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", COMMANDS, ids=lambda command: " ".join(word if word.isprintable() else "EVIL" for word in command)
)
def test_on_a_terminal(shop, command):
    shown = run(shop, command, terminal=True)
    assert shown.strip()
    left = OUR_COLOURS.sub("", shown)
    assert "\x1b" not in left, ascii(left)
    assert not DRIVES.findall(left), ascii(left)
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    "command",
    [
        ["contacts", "list", "--fields", "first_name"],
        ["explain", "evil@example.com"],
        ["contacts", "show", "evil@example.com"],
    ],
    ids=" ".join,
)
def test_piped_tables_keep_their_lines(shop, command):
    piped = run(shop, command, terminal=False)
    assert not DRIVES.findall(piped.replace("\x1b", "\x01")), ascii(piped)


def test_json_is_exact(shop):
    piped = run(shop, ["contacts", "export", "--format", "ndjson"], terminal=False)
    values = [json.loads(line)["first_name"] for line in piped.splitlines()]
    assert EVIL in values
    assert not DRIVES.findall(piped)


def test_what_is_shown_is_what_is_stored(shop):
    store = open_store(shop / "flowctl.db", create=False)
    assert store.connection.execute("SELECT count(*) FROM contacts WHERE first_name = ?", (EVIL,)).fetchone() == (1,)
    store.close()
