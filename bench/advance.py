"""Advancing due enrollments past a wait, a branch and a send, against the bare statements that write the same rows.

Measured is the processor time of either side, commits included: both wait for the same disk.
"""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.ratio import Ratio
from bench.stores import NOW, build
from flowctl.engine.advance import advance
from flowctl.engine.localtime import refresh_zones
from flowctl.engine.runtime import KIND, load
from flowctl.store.database import PRAGMAS, open_store

SPEED, MEMORY = "advance-speed", "advance-memory-mib"
SPEED_GOAL, MEMORY_GOAL_MIB = 0.4, 250.0
BATCH_ROWS = 20_000
TURNS = 3
WAIT_MS = 3 * 86_400_000  # expire_after of the messages

# What engine.md demands of a step that judges and sends, written down by hand: the outbox row, a journal row for the branch and one
# for the send, the move. No conditions: everybody takes the same way and is reachable.
DUE = "INSERT INTO due (eid) SELECT id FROM enrollments WHERE due_at <= :now ORDER BY id"
BATCH = "(SELECT eid FROM due WHERE place > :start AND place <= :stop)"
BARE = (
    (
        "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) "
        "SELECT e.contact_id, e.id, e.version_id, 1, e.until_at, :branch, json_object('way', 'else', 'engagement', c.engagement, 'plan', c.plan) "
        f"FROM enrollments e JOIN contacts c ON c.id = e.contact_id WHERE e.id IN {BATCH}"
    ),
    (
        "INSERT INTO outbox (contact_id, enrollment_id, version_id, pc, visit, channel, message, recipient, marketing, priority, arrived_at, "
        "expires_at, ready_at) SELECT e.contact_id, e.id, e.version_id, 3, 1, :channel, :message, c.email, 1, 50, e.until_at, "
        f"e.until_at + :expire, e.until_at FROM enrollments e JOIN contacts c ON c.id = e.contact_id WHERE e.id IN {BATCH}"
    ),
    (
        "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) "
        f"SELECT e.contact_id, e.id, e.version_id, 3, e.until_at, :send, NULL FROM enrollments e WHERE e.id IN {BATCH}"
    ),
    f"UPDATE enrollments SET pc = 3, visit = 1, at = until_at, until_at = until_at + :expire, due_at = NULL WHERE id IN {BATCH}",
)


def run(*, quick: bool = False) -> list[Ratio]:
    """Speed of the engine over that of the bare statements, and its peak memory; each side in processes of its own, in turns."""
    rows = 60_000 if quick else 300_000
    with tempfile.TemporaryDirectory(prefix="flowctl-bench-") as folder:
        whole = build(Path(folder) / "store", contacts=rows, events=rows * 2, enrollments=rows)
        said = _in_turns(whole)
    typical_s = {side: statistics.median(turn["seconds"] for turn in turns) for side, turns in said.items()}
    rates = {side: f"{rows / seconds:,.0f}/s" for side, seconds in typical_s.items()}
    peak_mib = max(turn["peak_mib"] for turn in said["engine"])
    return [
        Ratio(
            name=SPEED,
            value=typical_s["bare"] / typical_s["engine"],
            goal=SPEED_GOAL,
            at_least=True,
            detail=f"{rows:,} past a wait, a branch and a send: engine {rates['engine']} of processor time, bare {rates['bare']}",
        ),
        Ratio(name=MEMORY, value=peak_mib, goal=MEMORY_GOAL_MIB, detail=f"peak of the process that advanced {rows:,}"),
    ]


def _in_turns(whole: Path) -> dict[str, list[dict[str, float]]]:
    said: dict[str, list[dict[str, float]]] = {"bare": [], "engine": []}
    for _ in range(TURNS):
        for side, turns in said.items():
            turns.append(_measured(side, whole))
    return said


def _measured(side: str, whole: Path) -> dict[str, float]:
    """One side on a fresh copy of the store, in a process of its own."""
    copy = whole.with_name(f"{side}.db")
    shutil.copyfile(whole, copy)
    try:
        # The copy's pages are written back before the clock starts, or the two sides would pay for them by chance.
        subprocess.run(["sync", "-f", str(copy)], check=False)
        done = subprocess.run(
            [sys.executable, "-m", "bench.advance", side, str(copy)], check=True, capture_output=True, text=True
        )
        measured: dict[str, float] = json.loads(done.stdout)
        return measured
    finally:
        for path in copy.parent.glob(f"{copy.name}*"):
            path.unlink()


def _engine(path: Path) -> float:
    store = open_store(path, create=False)
    runtime = load(store.connection)
    assert runtime is not None
    begin = time.process_time()
    refresh_zones(store.connection, NOW)
    done = advance(store.connection, runtime, NOW)
    elapsed_s = time.process_time() - begin
    assert done.failed == 0
    assert done.sends == done.rows, done
    _check(store.connection)
    return elapsed_s


def _bare(path: Path) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in PRAGMAS:
        connection.execute(pragma)
    names = dict(connection.execute("SELECT name, id FROM names"))
    said = {
        "now": NOW, "branch": KIND["branch"], "send": KIND["send"], "channel": names["email"], "message": names["reminder"], "expire": WAIT_MS,
    }  # fmt: skip
    begin = time.process_time()
    connection.execute("CREATE TEMP TABLE due (place INTEGER PRIMARY KEY, eid INTEGER NOT NULL)")
    connection.execute(DUE, said)
    (last,) = connection.execute("SELECT max(place) FROM due").fetchone()
    for start in range(0, last, BATCH_ROWS):
        connection.execute("BEGIN IMMEDIATE")
        for statement in BARE:
            connection.execute(statement, {**said, "start": start, "stop": start + BATCH_ROWS})
        connection.execute("COMMIT")
    elapsed_s = time.process_time() - begin
    _check(connection)
    return elapsed_s


def _check(connection: sqlite3.Connection) -> None:
    """Both sides wrote the same number of rows, and moved everybody."""
    counts = connection.execute(
        "SELECT (SELECT count(*) FROM enrollments), (SELECT count(*) FROM outbox WHERE state = 0), (SELECT count(*) FROM journal), "
        "(SELECT count(*) FROM enrollments WHERE due_at IS NOT NULL OR visit <> 1)"
    ).fetchone()
    assert counts[1:] == (counts[0], 2 * counts[0], 0), counts


def _main(side: str, path: str) -> None:
    elapsed_s = (_engine if side == "engine" else _bare)(Path(path))
    print(json.dumps({"seconds": elapsed_s, "peak_mib": peak_mib()}))


def peak_mib() -> float:
    """Of this program alone: Linux counts into ru_maxrss what the process was before it became this program, a fork of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    _main(*sys.argv[1:])
