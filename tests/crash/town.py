"""A project on disk with a real SMTP server beside it, ticks in processes of their own, and the reckoning at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from email import message_from_bytes

from flowctl.engine.tick import tick
from flowctl.report.audit import audit
from flowctl.store.database import open_store
from tests.engine.world import SETTINGS, World, at, workflow

JOURNEY = workflow(
    "journey",
    goal="{event: purchase}",
    reentry="{after: 1h, while_active: parallel}",
    steps="- send: hello\n- wait: 1h\n- set: {stage: customer}\n- send: receipt\n- wait: 1h\n- add: {visits: 1}\n- send: bye",
)
CUSTOMERS = workflow("customers", triggers="[{enters: customers}]", steps="- send: again")
SEGMENT = "segment: customers\nmatch: {field: stage, is: customer}\n"
TOWN_SETTINGS = SETTINGS.replace(
    "email: {adapter: maildir, path: mail}",
    'email: {adapter: smtp, host: 127.0.0.1, port: "${TOWN_PORT}", timeout: 5s, connections: 2}',
)
WAIT_S = 60.0  # for what takes a second on a quiet machine


class Town:
    """Everything below one folder."""

    def __init__(self, folder, monkeypatch, port: int, *texts: str, people: int = 0) -> None:
        self.folder = folder
        self.patch = monkeypatch
        self.move_server(port)
        (folder / "flowctl.yaml").write_text(TOWN_SETTINGS)
        self.world = World(
            *(texts or (JOURNEY, CUSTOMERS, SEGMENT)), path=folder / "flowctl.db", settings=TOWN_SETTINGS
        )
        self.store, self.connection = self.world.store, self.world.connection
        for number in range(people):
            self.world.contact(f"c{number:03}")
            self.world.event(f"c{number:03}", "signup", at("1m"))

    def move_server(self, port: int) -> None:
        self.patch.setenv("TOWN_PORT", str(port))

    def tick(self, now: int):
        """In this process, through the channels that the release names."""
        return tick(self.store, now=now)

    def ticks(self, *offsets: str) -> None:
        for offset in offsets:
            self.tick(at(offset))

    def command(self, *arguments: str, now: int, preexec_fn=None, **environment: str) -> subprocess.Popen:
        """A `flowctl` of its own."""
        said = {**os.environ, "FLOWCTL_NOW": str(now), **environment}
        return subprocess.Popen(
            [sys.executable, "-m", "flowctl", "-C", str(self.folder), *arguments],
            env=said,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=preexec_fn,  # noqa: PLW1509 - it only sets a limit
        )

    def begun(self, server, *options: str) -> subprocess.Popen:
        """A tick in a process of its own, once the server took its first letter; one that ends before fails the test."""
        process = self.command("tick", *options, now=at("5m"))
        until = time.monotonic() + WAIT_S
        while not list(server.folder.glob("*.eml")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until, "nothing left"
            time.sleep(0.01)
        return process

    def run(self, *arguments: str, now: int, **environment: str) -> tuple[int, str, str]:
        """The same, to its end: status, stdout, stderr."""
        process = self.command(*arguments, now=now, **environment)
        out, err = process.communicate(timeout=2 * WAIT_S)
        return process.returncode, out, err

    def states(self) -> Counter:
        return Counter(self.connection.execute("SELECT message, state FROM outbox_readable").fetchall())

    def reckon(self, *servers, now: int) -> dict[str, int]:
        """Compare the books with what really arrived; how often each message that arrived twice did so, by key.

        Nothing is open, nobody is lost, what is sent arrived, what arrived is sent or in doubt, and only a transactional message in doubt
        arrived twice, the same to the byte.
        """
        assert audit(self.store, now=now).differences == ()
        # Another connection sees the same: what was committed is in the file.
        other = open_store(self.folder / "flowctl.db", create=False)
        assert audit(other, now=now).differences == ()
        other.close()
        rows = self.connection.execute(
            "SELECT o.key, n.name, o.state, o.marketing, o.doubts FROM outbox o JOIN names n ON n.id = o.message"
        ).fetchall()
        assert {state for _, _, state, _, _ in rows} <= {3, 4, 5, 6, 7}, "something is still open"
        bodies: dict[str, list[bytes]] = defaultdict(list)
        for server in servers:
            for file in sorted(server.folder.glob("*.eml")):
                raw = file.read_bytes()
                bodies[message_from_bytes(raw)["Message-ID"].strip("<>").partition("@")[0]].append(raw)
        twice = {}
        for key, name, state, marketing, doubts in rows:
            arrived = bodies.pop(key, [])
            if state == 3:
                assert arrived, f"{name} {key} is sent and did not arrive"
            if arrived:
                assert state in (3, 5), f"{name} {key} arrived and is in state {state}"
            if marketing:
                assert len(arrived) <= 1, f"{name} {key} arrived {len(arrived)} times"
            assert len(arrived) <= 1 + doubts
            assert len(set(arrived)) <= 1, "a resend differs"
            if len(arrived) > 1:
                twice[key] = len(arrived)
        assert not bodies, "letters that nobody ordered"
        return twice

    def everybody_is_through(self, workflow_name: str = "journey") -> None:
        """Each sign-up made one enrollment, each enrollment went its whole way, each step that sends made one message."""
        (signups,) = self.connection.execute(
            "SELECT count(*) FROM events e JOIN event_types t ON t.id = e.type WHERE t.name = 'signup'"
        ).fetchone()
        found = Counter(
            self.connection.execute("SELECT state FROM enrollments WHERE workflow = ?", (workflow_name,)).fetchall()
        )
        assert found == {(1,): signups}
        messages = Counter(
            name
            for (name,) in self.connection.execute(
                "SELECT n.name FROM outbox o JOIN names n ON n.id = o.message WHERE n.name IN ('hello', 'receipt', 'bye')"
            )
        )
        assert messages == {"hello": signups, "receipt": signups, "bye": signups}
        (visits,) = self.connection.execute("SELECT total(visits) FROM contacts").fetchone()
        assert visits == signups


def storm_rounds(short: int) -> int:
    """How many rounds: `make crash` asks for more."""
    return int(os.environ.get("FLOWCTL_CRASH_ROUNDS", short))
