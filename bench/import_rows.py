"""Importing contacts of text and number columns, against csv and executemany into the same table: at most twice as long."""

from __future__ import annotations

import csv
import random
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from bench.ratio import Ratio
from flowctl.store import fields
from flowctl.store.casting import Reading
from flowctl.store.contact_columns import Plan
from flowctl.store.contact_import import ContactImport
from flowctl.store.database import Store, open_store
from flowctl.store.reading import CHUNK_ROWS_MAX, open_source

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "import-rows"
GOAL = 2.0
ROWS = 500_000
FIELDS = {
    "first_name": {"type": "text"},
    "last_name": {"type": "text"},
    "city": {"type": "text"},
    "amount": {"type": "number"},
    "visits": {"type": "number"},
}
INSERT = (
    "INSERT INTO contacts (key, first_name, last_name, city, amount, visits, created_at, _seed, _origin) "
    "VALUES (?, ?, ?, ?, ?, ?, 1, ?, 0)"
)


def run(*, quick: bool = False) -> list[Ratio]:
    """The ratio of the times. Each side runs twice, in turns; its better time counts."""
    rows = ROWS // 10 if quick else ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.csv"
        _write(path, rows)
        raw, ours = [], []
        for turn in range(2):
            raw.append(_timed(_raw, path, Path(folder) / f"raw{turn}.db", rows))
            ours.append(_timed(_ours, path, Path(folder) / f"ours{turn}.db", rows))
    detail = f"{rows / min(ours):,.0f} rows/s, csv and executemany {rows / min(raw):,.0f} rows/s"
    return [Ratio(name=NAME, value=min(ours) / min(raw), goal=GOAL, detail=detail)]


def _write(path: Path, rows: int) -> None:
    chance = random.Random(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["key", *FIELDS])
        for number in range(rows):
            names = (
                f"First{chance.randrange(1000)}",
                f"Last{chance.randrange(100_000)}",
                f"City{chance.randrange(5000)}",
            )
            writer.writerow([f"c{number:07d}", *names, f"{chance.random() * 1000:.2f}", chance.randrange(100)])


def _timed(load: Callable[[Store, Path], None], path: Path, target: Path, rows: int) -> float:
    store = open_store(target, create=True)
    fields.declare(store.connection, FIELDS, now=1)
    begin = time.perf_counter()
    load(store, path)
    elapsed_s = time.perf_counter() - begin
    (count,) = store.connection.execute("SELECT count(*) FROM contacts WHERE amount IS NOT NULL").fetchone()
    assert count == rows, count
    store.close()
    return elapsed_s


def _raw(store: Store, path: Path) -> None:
    """What one would write by hand: the same file, table, indexes, pragmas and transactions, and no checks at all."""
    chance = random.Random(2).getrandbits
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        next(reader)
        while rows := list(islice(reader, CHUNK_ROWS_MAX)):
            store.connection.execute("BEGIN IMMEDIATE")
            store.connection.executemany(
                INSERT, ((a, b, c, d, float(e), float(f), chance(31)) for a, b, c, d, e, f in rows)
            )
            store.connection.execute("COMMIT")


def _ours(store: Store, path: Path) -> None:
    source = open_source(str(path))
    plan = Plan(reading=Reading(zone=ZoneInfo("UTC")), now=1, source="bench")
    importer = ContactImport(store.connection, plan, print)
    importer.check(source.columns)
    for chunk in source.chunks:
        importer.take(chunk)
