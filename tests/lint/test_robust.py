"""Lint ends on whatever was read: mutated projects, and workflows that no person wrote."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import cases
import fuzzing
import pytest

from flowctl.lint.linter import lint
from flowctl.project.load import load_texts


@pytest.mark.parametrize("seed", range(2))
def test_no_mutation_breaks_it(seed):
    """A short form of `make fuzz`; it runs on its own, so that what it may take of memory can be limited."""
    told = [sys.executable, fuzzing.__file__, "--files", "1000", "--seed", str(seed)]
    done = subprocess.run(told, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize(
    "text",
    [
        'workflow: cart\ntriggers: [{event: cart_updated}]\nsteps:\n  - wait_until: {slot: {days: mon-fri, between: ["10:00", "0d12:00"]}}\n',
    ],
)
def test_what_fuzzing_found(text):
    files = {path.name: path.read_bytes() for path in cases.BASE.iterdir()}
    count, _ = fuzzing.judge({**files, "found.yaml": text.encode()})
    assert count


def sends(count, step):
    lines = [
        "workflow: large",
        "triggers: [{event: cart_updated}]",
        "reentry: {while_active: restart, after: 1h}",
        "steps:",
    ]
    return "\n".join(lines + [line for number in range(count) for line in step(number)])


@pytest.mark.parametrize(
    ("count", "step"),
    [
        (2000, lambda number: [f"  - {{id: s{number}, send: offer}}", "  - wait: 1h"]),
        (300, lambda number: ["  - if: {segment: vip}", f"    then: [{{id: s{number}, send: offer}}]"]),
        (30, lambda number: ["  - repeat: {every: 1h, max: 1000}", f"    steps: [{{id: s{number}, send: offer}}]"]),
    ],
)
def test_a_huge_workflow_takes_no_age(count, step):
    texts = {**cases.texts(cases.CASES / "CPX002" / "ok.yaml"), "large.yaml": sends(count, step)}
    project = load_texts(texts, Path())
    assert not project.problems
    began = time.process_time()
    report = lint(project, select=["CPX", "PRS", "FLO"])
    assert time.process_time() - began < 10  # a square too much took minutes
    assert {"CPX004", "PRS001"} & {problem.code for problem in report.findings}
