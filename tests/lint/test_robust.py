"""Lint ends on whatever was read: mutated projects, and workflows that no person wrote."""

from __future__ import annotations

import random
import time
from pathlib import Path

import cases
import pytest

from flowctl.failure import UsageFailure
from flowctl.lint.linter import lint
from flowctl.project.load import load_texts

PROJECTS = [cases.texts(path) for path in sorted(cases.CASES.glob("*/*.yaml")) if path.parent.name != "base"]
INSERTED = [
    " #x",
    "{{ a",
    "{% if %}",
    ": y",
    " []",
    " null",
    "0",
    " # flowctl: ignore[",
    "{{ contact.x | default('y') }}",
]


def mutated(text, chance):
    """A text with a few lines dropped, doubled, swapped, shifted or filled with nonsense."""
    lines = text.splitlines(keepends=True) or [""]
    for _ in range(chance.randint(1, 3)):
        one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                lines[one] = ""
            case 1:
                lines.insert(other, lines[one])
            case 2:
                lines[one], lines[other] = lines[other], lines[one]
            case 3:
                lines[one] = lines[one].replace(
                    chance.choice(":-{}[] "), chance.choice([":", "- ", "{", "}", "", "  "]), 1
                )
            case 4:
                lines[one] = lines[one].rstrip("\n") + chance.choice(INSERTED) + "\n"
    return "".join(lines)


@pytest.mark.parametrize("seed", range(4))
def test_no_mutation_breaks_it(seed):
    chance = random.Random(seed)
    for _ in range(30):
        texts = {
            name: mutated(text, chance) if chance.random() < 0.4 else text
            for name, text in chance.choice(PROJECTS).items()
        }
        try:
            report = lint(load_texts(texts, Path()))
        except UsageFailure:  # a threshold or rule in flowctl.yaml that does not exist
            continue
        assert all(problem.place.path in texts for problem in report.findings)


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
