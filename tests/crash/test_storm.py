"""Ticks killed by SIGKILL at random moments while sign-ups come in: nothing is lost, nothing arrives twice that is not listed in doubt.

`make crash` kills 2,000 ticks over 50,000 sends.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from flowctl.report.audit import audit
from flowctl.store.database import transaction
from tests.crash.town import Town, storm_rounds
from tests.engine.world import MINUTE, at, workflow
from tests.servers import running

KILLS = 10 * storm_rounds(1)
SENDS = 25 * KILLS
JOURNEYS = (
    workflow("marketing", steps="- send: hello\n  via: email"),
    workflow("transactional", steps="- send: receipt\n  via: email"),
)
SENDING_SHARE = 0.6  # of the kills: while letters leave, where doubts are made
SENDING_S = 0.02
SENT, IN_DOUBT = 3, 5


class Nursery:
    def __init__(self, store: Path, ledger: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("nursery.py"), str(store), str(ledger)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tick(self, now: int, delay_s: float = 0.0, when: str = "never") -> str:
        self._process.stdin.write(f"{now} {delay_s} {when}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def test_kills_at_random_moments(tmp_path, monkeypatch):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    with running.ledger(tmp_path / "server") as server:
        town = Town(tmp_path, monkeypatch, server.port, *JOURNEYS)
        nursery = Nursery(tmp_path / "flowctl.db", tmp_path / "server" / "ledger")
        try:
            now, killed = storm(town, nursery, rng)
        finally:
            nursery.close()
        reckon(town, tmp_path / "server" / "ledger", now=now, killed=killed)
        town.store.close()


def storm(town, nursery, rng) -> tuple[int, int]:
    now, killed, rounds, people, longest_s = at("1m"), 0, 0, 0, 0.1
    while killed < KILLS or 2 * people < SENDS:
        rounds += 1
        now += MINUTE
        if 2 * people < SENDS:
            count = rng.randrange(1, 26)
            sign_up(town, people, count, now - 1)
            people += count
        if rounds % 10 == 1:  # left alone, or a slow machine would never get anywhere
            began_s = time.monotonic()
            answer = nursery.tick(now)
            longest_s = max(time.monotonic() - began_s, longest_s / 2)
        elif rng.random() < SENDING_SHARE:
            answer = nursery.tick(now, rng.uniform(0.0, SENDING_S), "sending")
        else:
            answer = nursery.tick(now, rng.uniform(0.0, longest_s), "any")
        assert answer in ("killed", "0"), answer
        killed += answer == "killed"
    for _ in range(20):
        now += 6 * MINUTE
        assert nursery.tick(now) == "0"
    return now, killed


def sign_up(town, first: int, count: int, when: int) -> None:
    with transaction(town.connection):
        for number in range(first, first + count):
            town.world.contact(f"c{number:05}", when=when)
            town.world.event(f"c{number:05}", "signup", when)


def reckon(town, ledger: Path, *, now: int, killed: int) -> None:
    assert audit(town.store, now=now).differences == ()
    arrived: dict[str, list[str]] = defaultdict(list)
    for line in ledger.read_text().splitlines():
        key, digest = line.split()
        arrived[key].append(digest)
    rows = town.connection.execute("SELECT key, state, marketing, doubts FROM outbox").fetchall()
    (people,) = town.connection.execute("SELECT count(*) FROM contacts").fetchone()
    found: Counter[str] = Counter()
    for key, state, marketing, doubts in rows:
        times = arrived.pop(key, [])
        policy = "marketing" if marketing else "transactional"
        assert state in (SENT, IN_DOUBT), f"{policy} {key} is in state {state}"
        assert state != SENT or times, f"{policy} {key} is sent and did not arrive"
        assert len(times) <= (1 if marketing else 1 + doubts), f"{policy} {key} arrived {len(times)} times"
        assert len(set(times)) <= 1, "a resend differs"
        assert doubts or len(times) == 1
        found[policy] += 1
        found[f"{policy} in doubt"] += state == IN_DOUBT
        found[f"{policy} in doubt, arrived"] += state == IN_DOUBT and bool(times)
        found[f"{policy} arrived twice"] += len(times) > 1
    assert not arrived, "letters that nobody ordered"
    assert found["marketing"] == found["transactional"] == people
    print(f"{killed} ticks killed, {len(rows)} sends: {dict(found)}")
    # Two connections, one letter each past the point of no return, and the batch that was granted with them.
    assert found["marketing in doubt"] <= 4 * killed


@pytest.mark.parametrize("policy", ["marketing", "transactional"])
def test_the_ledger_sees_what_it_is_to_see(policy, tmp_path, monkeypatch):
    """A letter twice, or none where one is said to be sent, fails the reckoning."""
    with running.ledger(tmp_path / "server") as server:
        town = Town(tmp_path, monkeypatch, server.port, *JOURNEYS)
        sign_up(town, 0, 3, at("1m"))
        town.ticks("5m")
        ledger = tmp_path / "server" / "ledger"
        reckon(town, ledger, now=at("5m"), killed=1)
        lines = ledger.read_text().splitlines(keepends=True)
        marketing = {
            key
            for (key,) in town.connection.execute(
                "SELECT key FROM outbox WHERE marketing = ?", (policy == "marketing",)
            )
        }
        mine = next(line for line in lines if line.split()[0] in marketing)
        for wrong in ([*lines, mine], [line for line in lines if line != mine]):
            ledger.write_text("".join(wrong))
            with pytest.raises(AssertionError, match=r"arrived 2 times|did not arrive"):
                reckon(town, ledger, now=at("5m"), killed=1)
