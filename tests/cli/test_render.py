"""Drawing: TSV that cannot be broken, tables that eat no markup, excerpts whose carets fit."""

from __future__ import annotations

import io
import sys

import pytest

from flowctl.cli import render
from flowctl.language.problem import Place, Problem


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_piped_tables_are_tsv(capsys):
    render.table(["name", "n"], [["a\tb\nc", None], ["[bold]x[/bold]", 1.5]])
    assert capsys.readouterr().out == "name\tn\na b c\t\n[bold]x[/bold]\t1.5\n"


def test_a_terminal_gets_a_table_without_markup_of_data(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    render.table(["name"], [["[bold]x[/bold]"], ["[/oops]"]], title="[t]")
    assert "[bold]x[/bold]" in screen.getvalue()
    assert "[/oops]" in screen.getvalue()


def test_colour_only_on_a_terminal_that_wants_it(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert render.colour(Terminal())
    assert not render.colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not render.colour(Terminal())


@pytest.mark.parametrize(
    ("row", "column", "end", "carets"),
    [
        ("a: été x", 8, 9, "       ^"),
        ("a: 漢字 x", 7, 8, "        ^"),
        ("a: e\u0301 x", 7, 8, "     ^"),
        ("a: xyz", 4, 7, "   ^^^"),
        ("a: ", 4, 4, "   ^"),
    ],
)
def test_carets_stand_below_what_they_mean(row, column, end, carets):
    problem = Problem(
        code="X", slug="x", message="m", place=Place(path="a", line=1, column=column, end_line=1, end_column=end)
    )
    drawn = render.full(problem, {"a": row}).splitlines()
    assert drawn[4] == f"  | {carets}"


def test_long_lines_are_cut_around_the_place():
    row = "x" * 500 + "HERE" + "y" * 500
    problem = Problem(
        code="X", slug="x", message="m", place=Place(path="a", line=1, column=501, end_line=1, end_column=505)
    )
    drawn = render.full(problem, {"a": row}).splitlines()
    start = drawn[4].index("^^^^")
    assert drawn[3][start : start + 4] == "HERE"
    assert len(drawn[3]) < 140


def test_messages_cannot_drive_the_terminal():
    problem = Problem(code="X", slug="x", message="\x1b[2Jboo\nnew line", place=Place(path="a"))
    assert "\x1b" not in render.concise(problem)
    assert "\n" not in render.concise(problem)
