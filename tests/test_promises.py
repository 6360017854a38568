"""docs/promises.md names tests for each promise, and they are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    line.split("|")
    for line in (ROOT / "docs" / "promises.md").read_text("utf-8").splitlines()
    if re.match(r"\| \d", line)
]
NAMED = [(int(row[1]), name) for row in ROWS for name in re.findall(r"`(tests/[^`]+)`", row[3])]


def test_every_promise_has_a_test():
    assert [int(row[1]) for row in ROWS] == list(range(1, 15))
    assert {number for number, _ in NAMED} == set(range(1, 15))


@pytest.mark.parametrize(("number", "name"), NAMED)
def test_it_is_there(number, name):
    path, _, function = name.partition("::")
    assert f"\ndef {function}(" in (ROOT / path).read_text("utf-8"), f"promise {number}"
