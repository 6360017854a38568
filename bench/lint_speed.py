"""Linting 1,000 workflows of 60 lines, and linting them again, against parsing and validating the same files, in processor time."""

from __future__ import annotations

import gc
import tempfile
import time
from pathlib import Path

from bench.ratio import Ratio

WORKFLOWS = 1_000
GOAL = 1.5
AGAIN_GOAL = 0.3  # where no file has changed
ROUNDS = 3
SETTINGS = """\
project: speed
timezone: Europe/Paris
languages: [fr, en]
public_url: https://news.example.com
contacts:
  fields:
    first_name: text
    engagement: {type: number, default: 0}
events:
  cart_updated: {properties: {items: integer, cart_id: text}}
  purchase_completed: {properties: {amount: number}}
pressure:
  email: [1 per 16h, 3 per 7d, 8 per 30d]
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
    where: {items: {gt: 0}}
audience:
  all:
    - {reachable: email}
    - {field: engagement, gte: 10}
reentry: {after: 30d, since: exit, while_active: restart, key: trigger.cart_id}
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
MESSAGES = """\
messages:
  reminder-NUMBER:
    push: {title: Your basket, text: It waits}
    email: {subject: Your basket, text: "Hello {{ contact.first_name | default('you') }}"}
  offer-NUMBER: {email: {subject: An offer, text: Hello}}
  again-NUMBER: {email: {subject: Again, text: Hello}}
  last-NUMBER: {email: {subject: Last call, text: Hello}}
"""


def run(*, quick: bool = False) -> list[Ratio]:
    """Parse and validate, then lint what was read; the ratio is of both together to the first alone. Then again from the cache."""
    from flowctl.lint.cache import Cache, WatchedFiles
    from flowctl.lint.linter import lint
    from flowctl.project.load import load, load_from
    from flowctl.project.origins import DiskFiles

    with tempfile.TemporaryDirectory() as folder:
        root = _write(Path(folder), WORKFLOWS // 10 if quick else WORKFLOWS)
        load(root)  # builds the models
        reading_s = linting_s = again_s = float("inf")
        gc.disable()  # as the command does
        for _ in range(ROUNDS):
            began = time.process_time()
            project = load(root)
            read = time.process_time()
            report = lint(project)
            reading_s = min(reading_s, read - began)
            linting_s = min(linting_s, time.process_time() - read)
        watched = WatchedFiles(disk=DiskFiles(root))
        Cache(root, {}).remember(watched, lint(load_from(watched, root)), None)
        for _ in range(ROUNDS):
            began = time.process_time()
            recalled = Cache(root, {}).recall()
            again_s = min(again_s, time.process_time() - began)
        gc.enable()
    if recalled is None or recalled.report.findings != report.findings:
        message = "the cache does not say what lint said"
        raise AssertionError(message)
    detail = f"{WORKFLOWS // 10 if quick else WORKFLOWS} workflows: read {reading_s:.2f} s, linted {linting_s:.2f} s, {len(report.findings)} findings"
    again = f"reading {reading_s:.2f} s, the report of unchanged files {again_s:.2f} s"
    return [
        Ratio(name="lint", value=(reading_s + linting_s) / reading_s, goal=GOAL, detail=detail),
        Ratio(name="lint-again", value=again_s / reading_s, goal=AGAIN_GOAL, detail=again),
    ]


def _write(root: Path, workflows: int) -> Path:
    (root / "flowctl.yaml").write_text(SETTINGS)
    for number in range(workflows):
        (root / f"journey-{number}.yaml").write_text(WORKFLOW.replace("NUMBER", str(number)))
        (root / f"messages-{number}.yaml").write_text(MESSAGES.replace("NUMBER", str(number)))
    return root
