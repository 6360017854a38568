"""Linting 1,000 workflows of 60 lines against parsing and validating the same files, in processor time.

Three times: well kept ones, the same again where no file has changed, and careless ones, in which lint finds nine faults each.
"""

from __future__ import annotations

import gc
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ratio import Ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.lint.report import Report

WORKFLOWS = 1_000
GOAL = 1.5
AGAIN_GOAL = 0.3  # where no file has changed
CARELESS_GOAL = 2.0  # thousands of findings have to be told
ROUNDS = 3
SETTINGS = """\
project: speed
timezone: Europe/Paris
languages: [fr, en]
public_url: https://news.example.com
contacts:
  fields:
    first_name: text
    shop: text
    engagement: {type: number, default: 0}
events:
  cart_updated: {properties: {items: integer, shop: text}}
  purchase_completed: {properties: {amount: number}}
pressure:
  email: [1 per 16h, 3 per 7d, 8 per 30d]
  push: [1 per 24h, 3 per 7d]
  all: [2 per 24h, 5 per 7d]
senders: {shop: {name: Maison Lune, email: bonjour@maison-lune.example}}
"""
WORKFLOW = """\
workflow: journey-NUMBER
description: Bring back contacts who left something in their cart.
owner: ecommerce
type: follow-up
goal: {event: purchase_completed, within: 60d}
triggers:
  - event: cart_updated
    where: {items: {gt: 0}, shop: shop-NUMBER}
audience:
  all:
    - {reachable: email}
    - {field: shop, is: shop-NUMBER}
    - {field: engagement, gte: 10}
reentry: {after: 30d}
exit_when:
  - {event: cart_updated, where: {items: 0}}
steps:
  - wait: 2h
  - id: first
    send: reminder-NUMBER
    via: [push, email]
  - id: pause
    wait: 2d
    time: "09:00"
  - if: {message: reminder-NUMBER, status: clicked}
    then:
      - id: clicked
        send: offer-NUMBER
      - wait: 3d
      - set: {engagement: 20}
    else:
      - id: again
        send: again-NUMBER
      - wait: 4d
      - choose:
          - when: {field: engagement, gte: 50}
            do:
              - wait: 1d
              - id: vip
                send: offer-NUMBER
              - exit: vip
          - when: {field: engagement, gte: 20}
            do:
              - wait: 2d
              - exit: warm
        otherwise:
          - wait: 5d
          - exit: cold
  - wait_for: {event: purchase_completed}
    timeout: 5d
    then:
      - add: {engagement: 10}
    on_timeout:
      - id: last
        send: last-NUMBER
      - wait: 7d
  - id: cooled
    add: {engagement: -5}
  - wait: 1d
  - exit: done
"""
CARELESS = (
    ("reentry: {after: 30d}", "reentry: {after: 30d, while_active: restart}"),
    (", shop: shop-NUMBER", ""),
    ("    - {field: shop, is: shop-NUMBER}\n", ""),
    ("    topic: offers\n", ""),
    ("topic: offers, ", ""),
)  # what of the files below is written otherwise
MESSAGES = """\
messages:
  reminder-NUMBER:
    topic: offers
    push: {title: Your basket, text: It waits}
    email: {subject: Your basket, text: "Hello {{ contact.first_name | default('you') }}"}
  offer-NUMBER: {topic: offers, email: {subject: An offer, text: Hello}}
  again-NUMBER: {topic: offers, email: {subject: Again, text: Hello}}
  last-NUMBER: {topic: offers, email: {subject: Last call, text: Hello}}
"""


def run(*, quick: bool = False) -> list[Ratio]:
    """Parse and validate, then lint what was read; a ratio is of both together to the first alone, or of the cache to the first."""
    workflows = WORKFLOWS // 10 if quick else WORKFLOWS
    gc.disable()  # as the command does
    try:
        with tempfile.TemporaryDirectory() as folder:
            root = _write(Path(folder), workflows)
            kept = _linted(root)
            again_s = _again(root, kept.report)
        with tempfile.TemporaryDirectory() as folder:
            careless = _linted(_write(Path(folder), workflows, CARELESS))
    finally:
        gc.enable()
    again = f"reading {kept.reading_s:.2f} s, the report of unchanged files {again_s:.2f} s"
    return [
        Ratio(name="lint", value=kept.ratio, goal=GOAL, detail=f"{workflows} workflows: {kept.told}"),
        Ratio(name="lint-again", value=again_s / kept.reading_s, goal=AGAIN_GOAL, detail=again),
        Ratio(name="lint-careless", value=careless.ratio, goal=CARELESS_GOAL, detail=careless.told),
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Linted:
    """The least times of some rounds, and what was found."""

    reading_s: float
    linting_s: float
    report: Report

    @property
    def ratio(self) -> float:
        """Reading and linting to reading."""
        return (self.reading_s + self.linting_s) / self.reading_s

    @property
    def told(self) -> str:
        """For people."""
        return f"read {self.reading_s:.2f} s, linted {self.linting_s:.2f} s, {len(self.report.findings)} findings"


def _linted(root: Path) -> _Linted:
    from flowctl.lint.linter import lint
    from flowctl.project.load import load

    load(root)  # builds the models
    reading_s = linting_s = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        project = load(root)
        read = time.process_time()
        report = lint(project)
        reading_s = min(reading_s, read - began)
        linting_s = min(linting_s, time.process_time() - read)
    return _Linted(reading_s=reading_s, linting_s=linting_s, report=report)


def _again(root: Path, report: Report) -> float:
    """The seconds that the report of unchanged files takes.

    Raises:
        AssertionError: it is another report.
    """
    from flowctl.lint.cache import Cache, WatchedFiles
    from flowctl.lint.linter import lint
    from flowctl.project.load import load_from
    from flowctl.project.origins import DiskFiles

    watched = WatchedFiles(disk=DiskFiles(root))
    Cache(root, {}).remember(watched, lint(load_from(watched, root)), None)
    again_s = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        recalled = Cache(root, {}).recall()
        again_s = min(again_s, time.process_time() - began)
    if recalled is None or recalled.report.findings != report.findings:
        message = "the cache does not say what lint said"
        raise AssertionError(message)
    return again_s


def _write(root: Path, workflows: int, otherwise: Sequence[tuple[str, str]] = ()) -> Path:
    (root / "flowctl.yaml").write_text(SETTINGS)
    workflow, messages = WORKFLOW, MESSAGES
    for written, instead in otherwise:
        workflow, messages = workflow.replace(written, instead), messages.replace(written, instead)
    for number in range(workflows):
        (root / f"journey-{number}.yaml").write_text(workflow.replace("NUMBER", str(number)))
        (root / f"messages-{number}.yaml").write_text(messages.replace("NUMBER", str(number)))
    return root
