"""YML003 and YML009: what lint asks about a file that is valid."""

from __future__ import annotations

import pytest

from flowctl.language.doubts import warnings
from flowctl.language.source import parse_text


def doubts(text: str) -> list[tuple[str, int, int]]:
    root, problems = parse_text("x.yaml", text)
    assert not problems
    return [(problem.code, problem.place.line, problem.place.column) for problem in warnings(root, text)]


@pytest.mark.parametrize("scalar", ["no", "Off", "yes", "on", "22:30", "010", "+33612345678", "1_000", ".inf"])
def test_what_others_read_otherwise_is_doubtful_and_the_fix_quotes_it(scalar):
    text = f"key: {scalar}\n"
    root, _ = parse_text("x.yaml", text)
    (problem,) = warnings(root, text)
    assert (problem.code, problem.severity) == ("YML003", "warning")
    assert problem.fix.safe
    (edit,) = problem.fix.edits
    assert text[: edit.place.column - 1] + edit.text + text[edit.place.end_column - 1 :] == f'key: "{scalar}"\n'


@pytest.mark.parametrize(
    "scalar", ["12", "1.5", "true", "nothing", "2026-12-01", "09:00", "'no'", "2h", "null", "a no"]
)
def test_what_all_read_alike_is_not(scalar):
    assert doubts(f"key: {scalar}\n") == []


def test_keys_count_too():
    assert doubts("subject: {no: Hei}\n") == [("YML003", 1, 11)]


def test_a_hash_that_cuts_a_text():
    assert doubts("subject: Offre #1 du mois\n") == [("YML009", 1, 16)]
    assert doubts("color: #fff\n") == [("YML009", 1, 8)]
    assert doubts("subject: Offre # un commentaire\nother: x\n# seul\n") == []
    assert doubts("subject: 'Offre #1'\ntext: |\n  #1 #2\n") == []


def test_a_line_swallowed_by_the_one_above():
    assert doubts("description: one\n  - two\n") == [("YML009", 2, 3)]
    assert doubts("description: one\n  two words\n") == []
