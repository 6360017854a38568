"""Mutated projects against lint: no traceback, nothing over 2 s or 256 MB. `make fuzz` runs many, the tests few.

python tests/lint/fuzzing.py --files 100000 --seed 7
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))
import cases

from flowctl.cli import render
from flowctl.failure import UsageFailure
from flowctl.lint.linter import lint
from flowctl.project.load import load_from

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS_MAX = 2.0
BYTES_MAX = 256 * 1024 * 1024
CHUNK = 5_000  # files a process
WORKFLOWS = Path(__file__).parents[2] / "workflows"
VALIDATE = Path(__file__).parents[1] / "cases" / "validate"

WORDS = [
    " #x", "{{ a", "{% if %}", "{% for x in y %}", ": y", " []", " null", "0", "-1", "1e400", "99999999999999999999", "0x1f", ".nan", "~",
    " # flowctl: ignore[", " # flowctl: ignore[PRS001] why", "{{ contact.x | default('y') }}", "&a", "*a", "!!python/name:os.system x", "<<: *a",
    "|", ">", "? ", "---\n", "...\n", "\t", "\r", "\x00", "\u2028", "\ufeff", "\ud83d", "e\u0301", "😀", "any", "none", "no", "12:30", "0123",
    "1 per 0h", "0d", "999999999 years", "P1Y2M", "-3d", "24:00", "2026-02-30", "2026-13-01T25:61", "Europe/Nowhere", "@", "%", "`",
    "wait: 2d", "send: offer", "if: {field: x, gte: 5}", "repeat: {every: 0m, max: 9}", "start: {workflow: cart}", "exit: done", "steps: []",
    "when: {not: {not: {field: country, is: FR}}}", "trigger.x", "contact.", "{from: trigger.x}", "[" * 70, "{a: " * 70, "- " * 70, "a: " * 70,
    "\ufffe", "\x85",
]  # fmt: skip


class BytesFiles:
    """The files of a project as bytes in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def paths(self, exclude: list[str]) -> Iterator[str]:
        """The resource files."""
        return (path for path in sorted(self.files) if path.endswith(".yaml") and path != "flowctl.yaml")

    def read(self, path: str, bytes_max: int = 1024 * 1024) -> bytes | str:
        """The bytes of a file, or why there are none."""
        return self.files[path][: bytes_max + 1] if path in self.files else "no such file or directory"

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return path in self.files


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run came to."""

    files: int = 0
    findings: int = 0
    slowest_s: float = 0.0


def corpus() -> list[dict[str, bytes]]:
    """Every project that the tests and the example know."""
    found = [
        {name: text.encode() for name, text in cases.texts(path).items()}
        for path in sorted(cases.CASES.glob("*/*.yaml"))
        if path.parent.name != "base"
    ]
    base = {path.name: path.read_bytes() for path in cases.BASE.iterdir()}
    for folder in (*sorted(VALIDATE.iterdir()), *WORKFLOWS.glob("*/*/")):
        files = {path.name: path.read_bytes() for path in folder.glob("*.*") if path.is_file()}
        settings = folder.parent / "flowctl.yaml"
        own = {"flowctl.yaml": settings.read_bytes()} if settings.exists() else {}
        found.append({**base, **own, **files})
    return found


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A file with a few lines dropped, doubled, swapped, shifted, filled with nonsense or taken from another; or with bytes of any kind."""
    lines = data.splitlines(keepends=True) or [b""]
    for _ in range(chance.choice([1, 1, 2, 3, 8])):
        one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
        word = chance.choice(WORDS).encode("utf-8", "surrogatepass")
        match chance.randrange(9):
            case 0:
                lines[one] = b""
            case 1:
                lines.insert(two, lines[one])
            case 2:
                lines[one], lines[two] = lines[two], lines[one]
            case 3:
                old, new = chance.choice(b":-{}[] ,\"'"), chance.choice([b":", b"- ", b"{", b"}", b"", b"  ", b'"'])
                lines[one] = lines[one].replace(bytes([old]), new, 1)
            case 4:
                lines[one] = lines[one].rstrip(b"\n") + word + b"\n"
            case 5:
                cut = chance.randrange(len(lines[one]) + 1)
                lines[one] = lines[one][:cut] + word + lines[one][cut:]
            case 6:
                lines[one] = chance.choice(other.splitlines(keepends=True) or [b""])
            case 7:
                key, colon, _ = lines[one].partition(b":")
                lines[one] = key + colon + b" " + word + b"\n"
            case _:
                cut = chance.randrange(len(lines[one]) + 1)
                lines[one] = lines[one][:cut] + bytes([chance.randrange(256)]) + lines[one][cut + chance.randrange(2) :]
    return b"".join(lines)


def fuzz(files: int, seed: int) -> Run:
    """Lint so many mutated files; raises whatever lint raises, with what it takes to do it again.

    Raises:
        AssertionError: a project took too long, or a finding points at no file.
    """
    known = corpus()
    findings, slowest_s = 0, 0.0
    done = 0
    while done < files:
        chance = random.Random(f"{seed}/{done}")
        project = dict(chance.choice(known))
        for name in chance.sample(sorted(project), k=min(len(project), chance.choice([1, 1, 1, 2]))):
            other = chance.choice(list(chance.choice(known).values()))
            project[name] = mutated(project[name], other, chance)
            done += 1
        try:
            count, took_s = judge(project)
        except BaseException as error:
            error.add_note(f"seed {seed}, file {done}; the project:\n{project!r}")
            raise
        findings += count
        slowest_s = max(slowest_s, took_s)
    return Run(files=done, findings=findings, slowest_s=slowest_s)


def judge(files: dict[str, bytes]) -> tuple[int, float]:
    """Lint one project and draw what is found; how many findings, and the processor time."""
    began = time.process_time()
    project = load_from(BytesFiles(files), Path())
    try:
        report = lint(project, profile="strict", ignore=["VER003"])  # which asks git
    except UsageFailure:  # a threshold or rule in flowctl.yaml that does not exist
        return 0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        render.problems(report.findings, {**project.bodies, **project.sources}, "text")
    took_s = time.process_time() - began
    assert took_s < SECONDS_MAX, f"{took_s:.1f} s"
    assert all(problem.place.path in files for problem in report.findings)
    return len(report.findings), took_s


def limit_memory() -> None:
    """Let this process take 256 MB more than it has; what needs more dies of MemoryError."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) if sys.platform == "linux" else 0
    if pages:
        most = pages * resource.getpagesize() + BYTES_MAX
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def chunk(told: tuple[int, int]) -> Run:
    """So many files of a seed, in a process of its own."""
    files, seed = told
    fuzz(20, 0)  # builds the models
    limit_memory()
    return fuzz(files, seed)


def main() -> int:
    """Run from the command line: in chunks, as what lint keeps for its next question is not what one file takes."""
    said = argparse.ArgumentParser(description=__doc__)
    said.add_argument("--files", type=int, default=100_000)
    said.add_argument("--seed", type=int, default=1)
    asked = said.parse_args()
    chunks = [
        (min(CHUNK, asked.files - start), asked.seed * 1000 + start // CHUNK) for start in range(0, asked.files, CHUNK)
    ]
    with multiprocessing.get_context("fork").Pool(min(len(chunks), os.cpu_count() or 1), maxtasksperchild=1) as pool:
        runs = pool.map(chunk, chunks, chunksize=1)
    files, findings = sum(run.files for run in runs), sum(run.findings for run in runs)
    slowest_s = max(run.slowest_s for run in runs)
    print(f"{files} mutated files, {findings} findings, the slowest {slowest_s:.2f} s: no traceback")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
