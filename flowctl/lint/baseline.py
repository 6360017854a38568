"""The baseline: findings that were there when lint was taken up, and are not shown again."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from flowctl.failure import UsageFailure
from flowctl.lint.rules import READING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from flowctl.language.problem import Problem

SCHEMA_VERSION = 1
FILE_NAME = "lint-baseline.json"
Key = tuple[str, str, str, str]
"""File, code, step and message: what stays when lines move."""


def key(problem: Problem) -> Key:
    """What a baseline knows a finding by."""
    return (problem.place.path, problem.code, problem.step, problem.message)


def read(path: Path) -> Counter[Key]:
    """The findings of a baseline file, each with how often it was there.

    Raises:
        UsageFailure: it is missing, or no baseline.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if said["schema_version"] != SCHEMA_VERSION:
            message = (
                f"the baseline {path} has schema_version {said['schema_version']}; this flowctl reads {SCHEMA_VERSION}"
            )
            raise UsageFailure(message, help="write it anew with `flowctl lint --write-baseline`")
        found: Counter[Key] = Counter()
        for one in said["findings"]:
            found[str(one["file"]), str(one["code"]), str(one["step"]), str(one["message"])] += int(one.get("count", 1))
    except OSError as error:
        message = f"the baseline {path} cannot be read: {(error.strerror or str(error)).lower()}"
        raise UsageFailure(message, help="write it with `flowctl lint --write-baseline`") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"{path} is no lint baseline"
        raise UsageFailure(message, help="write it anew with `flowctl lint --write-baseline`") from None
    return found


def write(path: Path, problems: Iterable[Problem]) -> int:
    """Write every finding but faults of reading; gives how many.

    Raises:
        UsageFailure: the file cannot be written.
    """
    counted = Counter(key(problem) for problem in problems if problem.code not in READING)
    findings: list[dict[str, Any]] = []
    for (file, code, step, message), count in sorted(counted.items()):
        findings.append(
            {"file": file, "code": code, "step": step, "message": message, **({"count": count} if count > 1 else {})}
        )
    text = json.dumps({"schema_version": SCHEMA_VERSION, "findings": findings}, ensure_ascii=False, indent=2)
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        message = f"the baseline {path} cannot be written: {(error.strerror or str(error)).lower()}"
        raise UsageFailure(message) from None
    return counted.total()


def leave_out(problems: Iterable[Problem], known: Counter[Key]) -> tuple[list[Problem], int, int]:
    """What the baseline does not hold, how many it did, and how many of its entries are gone."""
    left = known.copy()
    new: list[Problem] = []
    for problem in problems:
        if problem.code not in READING and left[key(problem)] > 0:
            left[key(problem)] -= 1
        else:
            new.append(problem)
    gone = left.total()
    return new, known.total() - gone, gone
