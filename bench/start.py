"""How long a command takes to start, against a program that only has typer print its help."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.ratio import Ratio

ROUNDS = 25
TRIVIAL = """
import typer
app = typer.Typer()
@app.command()
def main(name: str = "x") -> None:
    print(name)
app()
"""
SETTINGS = "project: bench\nevents: {bought: }\n"
WORKFLOW = "workflow: one\ntriggers: [{event: bought}]\nsteps:\n  - wait: 1h\n"


def run(*, quick: bool = False) -> list[Ratio]:
    """Process start of `--help`, of `lint` on one file and of an idle tick; the median over rounds in which they take turns."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "trivial.py").write_text(TRIVIAL, encoding="utf-8")
        project = root / "project"
        project.mkdir()
        (project / "flowctl.yaml").write_text(SETTINGS, encoding="utf-8")
        (project / "one.yaml").write_text(WORKFLOW, encoding="utf-8")
        flowctl = str(Path(sys.executable).parent / "flowctl")
        in_project = [flowctl, "-C", str(project)]
        subprocess.run([*in_project, "apply", "--yes", "--allow-dirty"], check=True, capture_output=True)
        subprocess.run([*in_project, "tick"], check=True, capture_output=True)
        lines = {
            "trivial": [sys.executable, str(root / "trivial.py")],
            "help": [flowctl, "--help"],
            "lint": [*in_project, "lint", "one.yaml"],
            "tick": [*in_project, "tick"],
        }
        # An installed program has its modules compiled: all sides find them so, after the first round, also where this is switched off.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"NO_COLOR": "1", "PYTHONPYCACHEPREFIX": str(root / "compiled")}
        took: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(ROUNDS // 3 if quick else ROUNDS):
            for name, line in lines.items():
                took[name].append(_seconds(line, environment))
    # Each start against the trivial one of the same round: a machine whose speed drifts moves both.
    ratios = {name: median(one / base for one, base in zip(took[name], took["trivial"], strict=True)) for name in lines}
    base = median(took["trivial"])
    return [
        Ratio(
            name=f"start-{name}",
            value=ratios[name],
            goal=goal,
            detail=f"{median(took[name]) * 1000:.0f} ms, a trivial typer program {base * 1000:.0f} ms",
        )
        for name, goal in (("help", 1.5), ("lint", 2.0), ("tick", 3.0))
    ]


def _seconds(line: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(line, check=False, capture_output=True, env=environment)
    return time.perf_counter() - began
