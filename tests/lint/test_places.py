"""Where findings point: at text that is there, on the same line however a file is encoded."""

from __future__ import annotations

import functools
from pathlib import Path

import cases
import pytest
from fuzzing import BytesFiles

from flowctl.language.offsets import span
from flowctl.language.source import lines
from flowctl.lint.linter import lint
from flowctl.lint.rules import SLUGS
from flowctl.project.load import load_from

BOM = b"\xef\xbb\xbf"
WHOLE_FILE = {"YML001", "YML005", "YML007"}  # may be about the end of a file, or all of it


def judged(texts):
    project = load_from(BytesFiles(texts), Path())
    return project, lint(project, profile="strict", ignore=["VER003"]).findings  # which asks git


def case(code):
    return {name: text.encode() for name, text in cases.texts(cases.CASES / code / "bad.yaml").items()}


def places(problem):
    return [problem.place, *(related.place for related in problem.related)]


@pytest.mark.parametrize("code", SLUGS)
def test_a_finding_points_at_text_of_its_file(code):
    project, findings = judged(case(code))
    texts = {**project.sources, **project.bodies}
    for problem in findings:
        for place in places(problem):
            rows = lines(texts[place.path])
            assert 1 <= place.line <= place.end_line <= len(rows) + 1, (problem, place)
            assert 1 <= place.column <= len(rows[place.line - 1]) + 1, (problem, place)
            begin, end = span(texts[place.path], place)
            pointed = texts[place.path][begin:end]
            assert pointed.strip() or problem.code in WHOLE_FILE, (problem, place)
            assert pointed == pointed.lstrip() or problem.code in WHOLE_FILE, (problem, place, pointed)


@pytest.mark.parametrize(
    ("otherwise", "moved"),
    [
        pytest.param(lambda data: data.replace(b"\n", b"\r\n"), 0, id="CRLF"),
        pytest.param(lambda data: BOM + data, 0, id="BOM"),
        pytest.param(lambda data: BOM + data.replace(b"\n", b"\r\n"), 0, id="BOM-CRLF"),
        pytest.param(lambda data: data.rstrip(b"\n"), 0, id="no-last-newline"),
        pytest.param(lambda data: data.replace(b"\n", b"  \n"), 0, id="blanks-at-line-ends"),
        pytest.param(lambda data: data + b"#\t\xc3\xa9\n", 0, id="a-tab-behind"),
        pytest.param(lambda data: b"# \xf0\x9f\x98\x80\n" + data, 1, id="a-line-more"),
    ],
)
def test_the_same_is_found_on_the_same_lines(otherwise, moved):
    for code in SLUGS:
        after = {name: otherwise(text) for name, text in case(code).items()}
        as_written = [
            (*said, [(path, line + moved, column) for path, line, column in where]) for *said, where in of_case(code)
        ]
        assert told(after) == as_written, code


@functools.cache
def of_case(code):
    return told(case(code))


def told(files):
    return [
        (problem.code, problem.message, [(place.path, place.line, place.column) for place in places(problem)])
        for problem in judged(files)[1]
        if problem.code != "YML001"  # in the words of the YAML library
    ]
