"""`lint --fix`, `--unsafe-fixes`, `--diff`: what is written, what stays, and that one call is enough."""

from __future__ import annotations

import stat
import subprocess
from dataclasses import replace

import cases
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctl.cli.main import main
from flowctl.language.offsets import edited, place_at, span
from flowctl.language.problem import Edit, Fix, Problem
from flowctl.language.source import parse_text
from flowctl.lint.edits import key_added, key_deleted, step_added, step_deleted
from flowctl.lint.fixing import mend
from flowctl.lint.report import Report
from flowctl.project.load import load, load_edited


@pytest.fixture
def dangling(tmp_path):
    """A project with one safe fix, FLO002 in bad.yaml."""
    return cases.write(cases.CASES / "FLO002" / "bad.yaml", tmp_path)


@pytest.fixture
def misspelt(tmp_path):
    """A project with one fix that is not safe, REF001 in bad.yaml."""
    return cases.write(cases.CASES / "REF001" / "bad.yaml", tmp_path)


def run(root, *options):
    return main(["-C", str(root), "lint", *options])


# ---------------------------------------------------------------------------------------------------------- the command


def test_safe_fixes_are_made_and_the_rest_is_told(dangling, capsys):
    before = (dangling / "bad.yaml").read_text()
    assert run(dangling, "--fix", "--select", "FLO002") == 0
    after = (dangling / "bad.yaml").read_text()
    assert after.replace("      - exit: done\n", "") == before != after
    assert capsys.readouterr().err.endswith("nothing found; fixed 1 finding in 1 file\n")


def test_fixes_that_are_not_safe_wait_to_be_asked_for(misspelt, capsys):
    before = (misspelt / "bad.yaml").read_text()
    assert run(misspelt, "--fix", "--select", "REF001") == 1
    assert (misspelt / "bad.yaml").read_text() == before
    assert "1 more with --unsafe-fixes" in capsys.readouterr().err
    assert run(misspelt, "--unsafe-fixes", "--select", "REF001") == 0
    assert (misspelt / "bad.yaml").read_text() == before.replace("ofer", "offer")


def test_a_diff_is_shown_and_nothing_written(dangling, capsys):
    before = (dangling / "bad.yaml").read_bytes()
    assert run(dangling, "--diff") == 1
    out, err = capsys.readouterr()
    assert (dangling / "bad.yaml").read_bytes() == before
    assert "nothing was written" in err
    done = subprocess.run(["patch", "-p1"], input=out, cwd=dangling, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert run(dangling, "--diff") == 0
    assert capsys.readouterr().err.startswith("nothing to fix")


def test_paths_choose_what_is_fixed(dangling, capsys):
    before = (dangling / "bad.yaml").read_bytes()
    assert run(dangling, "flowctl.yaml", "--fix") == 0
    assert (dangling / "bad.yaml").read_bytes() == before
    capsys.readouterr()


def test_what_the_baseline_holds_is_not_fixed(dangling, capsys):
    before = (dangling / "bad.yaml").read_bytes()
    run(dangling, "--write-baseline")
    run(dangling, "--fix")
    assert (dangling / "bad.yaml").read_bytes() == before
    assert run(dangling, "--write-baseline", "--fix") == 2
    capsys.readouterr()


def test_line_ends_mark_and_permissions_stay(dangling, capsys):
    file = dangling / "bad.yaml"
    text = file.read_text()
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    file.chmod(0o640)
    assert run(dangling, "--fix") == 0
    after = file.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf")
    assert after.count(b"\r\n") == after.count(b"\n") == text.count("\n") + 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    capsys.readouterr()


def test_a_linked_file_stays_a_link(dangling, capsys):
    (dangling / ".kept").mkdir()
    real = dangling / ".kept" / "real.yaml"
    link = dangling / "bad.yaml"
    real.write_text(link.read_text())
    link.unlink()
    link.symlink_to(real)
    assert run(dangling, "--fix") == 0
    assert link.is_symlink()
    assert "exit: done" in real.read_text()
    capsys.readouterr()


# ------------------------------------------------------------------------------------------------------ the fixed point


def judged(*problems):
    """A judge that finds these while their text is there."""
    return lambda project: Report(
        findings=tuple(
            problem
            for problem in problems
            if problem.message in project.sources.get(problem.place.path, "")
        ),
        files=1, workflows=0, rules=1,
    )  # fmt: skip


def problem(text, word, instead, path="segments.yaml"):
    place = place_at(path, text, text.index(word), len(word))
    return Problem(
        code="TST001", slug="test", message=word, place=place, severity="warning",
        fix=Fix(title="", edits=(Edit(place=place, text=instead),), safe=True),
    )  # fmt: skip


SEGMENTS = "segments:\n  a: {match: {field: country, is: FR}}\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "flowctl.yaml").write_text("project: shop\n")
    (tmp_path / "segments.yaml").write_text(SEGMENTS)
    return tmp_path


def mended(root, *problems):
    return mend(load(root), judge=judged(*problems), reread=lambda texts: load_edited(texts, root))


def test_fixes_that_overlap_take_turns(root):
    done = mended(root, problem(SEGMENTS, "is: FR", "is: BE"), problem(SEGMENTS, "FR", "NL"))
    assert done.texts["segments.yaml"] == SEGMENTS.replace("FR", "BE")
    assert len(done.fixed) == 1


def test_a_fix_that_breaks_the_file_is_not_made_and_the_others_are(root):
    done = mended(root, problem(SEGMENTS, "segments:", "segments: {"), problem(SEGMENTS, "FR", "NL"))
    assert done.texts["segments.yaml"] == SEGMENTS.replace("FR", "NL")
    assert [one.message for one in done.report.findings] == ["segments:"]


def test_a_fix_that_mends_nothing_ends(root):
    endless = problem(SEGMENTS, "FR", "FR")
    done = mended(root, endless)
    assert done.texts["segments.yaml"] == SEGMENTS
    assert done.report.findings == (endless,)


def test_edits_of_one_fix_are_made_together_or_not_at_all(root):
    one, two = problem(SEGMENTS, "FR", "NL"), problem(SEGMENTS, "country", "language")
    both = replace(one, fix=Fix(title="", edits=(*one.fix.edits, *two.fix.edits), safe=True))
    missing = replace(two.fix.edits[0], place=replace(two.place, path="gone.yaml"))
    assert mended(root, both).texts["segments.yaml"] == SEGMENTS.replace("FR", "NL").replace("country", "language")
    partial = replace(one, fix=Fix(title="", edits=(*one.fix.edits, missing), safe=True))
    assert mended(root, partial).texts == {}


# -------------------------------------------------------------------------------------------------------------- edits


def steps(text):
    root, problems = parse_text("w.yaml", text)
    assert not problems
    return root.entries["steps"].value.items


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("steps:\n  - send: a\n  - send: b\n", "steps:\n  - send: a\n  - exit: done\n  - send: b\n"),
        ("steps:\n- send: a  # why\n- send: b", "steps:\n- send: a  # why\n- exit: done\n- send: b"),
        ("steps: [{send: a}, {send: b}]\n", "steps: [{send: a}, {exit: done}, {send: b}]\n"),
        ("steps:\n  - id: x\n    send: a", "steps:\n  - id: x\n    send: a\n  - exit: done"),
        ("steps:\n  - text: |\n      one\n      two\n  - send: b\n", "steps:\n  - text: |\n      one\n      two\n  - exit: done\n  - send: b\n"),
        ("steps:\r\n  - send: a\r\n", "steps:\r\n  - send: a\r\n  - exit: done\r\n"),
        ("steps:\n  - {send: a, via: [x,\n     y]}\n", "steps:\n  - {send: a, via: [x,\n     y]}\n  - exit: done\n"),
    ],
)  # fmt: skip
def test_a_step_behind_another(before, after):
    assert edited(before, [step_added(steps(before)[0], "exit: done", before)]) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("steps:\n  - send: a\n  - send: b\n", "steps:\n  - send: b\n"),
        ("steps:\n  - id: x  # one\n    send: a  # two\n  - send: b\n", "steps:\n  - send: b\n"),
        ("steps:\n  - text: |\n      one\n  - send: b\n", "steps:\n  - send: b\n"),
    ],
)
def test_a_step_away(before, after):
    assert edited(before, [step_deleted(steps(before)[0], before)]) == after


@pytest.mark.parametrize(
    ("before", "key", "after"),
    [
        ("steps:\n  - id: x\n    send: a\n", "id", "steps:\n  - send: a\n"),
        ("steps:\n  - send: a\n    id: x  # why\n    via: b\n", "id", "steps:\n  - send: a\n    via: b\n"),
        ("steps: [{send: a, id: x}]\n", "id", "steps: [{send: a}]\n"),
        ("steps: [{id: x , send: a}]\n", "id", "steps: [{send: a}]\n"),
        ("steps:\n  - send: a\n    id: x", "id", "steps:\n  - send: a\n"),
    ],
)
def test_a_key_away(before, key, after):
    assert edited(before, [key_deleted(steps(before)[0], key, before)]) == after


@pytest.mark.parametrize(
    ("before", "behind", "after"),
    [
        ("steps:\n  - send: a\n    via: b\n", "send", "steps:\n  - send: a\n    id: x\n    via: b\n"),
        ("steps:\n  - send: a  # why\n", "", "steps:\n  - send: a  # why\n    id: x\n"),
        ("steps: [{send: a, via: [b]}]\n", "", "steps: [{send: a, via: [b], id: x}]\n"),
        ("steps: [{send: a, via: [b]}]\n", "send", "steps: [{send: a, id: x, via: [b]}]\n"),
    ],
)
def test_a_key_added(before, behind, after):
    assert edited(before, [key_added(steps(before)[0], "id: x", before, behind=behind)]) == after


@given(st.text(alphabet="ab\n\r\u2028é", max_size=40), st.data())
def test_places_and_offsets_are_inverse(text, data):
    at = data.draw(st.integers(0, len(text)))
    if text[at - 1 : at + 1] == "\r\n":
        return  # no place lies within a line end
    begin, _ = span(text, place_at("x", text, at, 1))
    assert begin == at
