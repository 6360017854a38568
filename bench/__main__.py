"""Runs the benchmarks named on the command line, or all: one line a ratio, `NAME RATIO GOAL`; exits 1 where one falls short.

A benchmark is a module of this folder with `run(*, quick) -> list[Ratio]`; `--quick` asks for smaller numbers, whose ratios say little.
What was measured goes to standard error.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.ratio import Ratio

FOLDER = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Measure and judge."""
    quick = "--quick" in arguments
    wanted = [argument for argument in arguments if argument != "--quick"]
    known = sorted(path.stem for path in FOLDER.glob("*.py") if "\ndef run(" in path.read_text(encoding="utf-8"))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"no benchmark {unknown[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    met = True
    for name in wanted or known:
        begin = time.perf_counter()
        ratios: list[Ratio] = import_module(f"bench.{name}").run(quick=quick)
        for ratio in ratios:
            print(ratio.line() + ("" if ratio.met else "  FALLS SHORT"), flush=True)
            if ratio.detail:
                print(f"    {ratio.detail}", file=sys.stderr, flush=True)
            met = met and ratio.met
        print(f"    ({name} took {time.perf_counter() - begin:.0f} s)", file=sys.stderr, flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
