"""`flowctl test`: scenario tests."""

from __future__ import annotations

import time
from dataclasses import asdict
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowctl.cli import render
from flowctl.cli.invocation import Invocation, invocation
from flowctl.failure import ProblemsFound, UsageFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.language.scenario import ScenarioBody
    from flowctl.report.timeline import Timeline
    from flowctl.simulate.coverage import Coverage
    from flowctl.simulate.scenario import Outcome

EXAMPLES = """\
flowctl test                         all scenarios
flowctl test -k cart                 those with `cart` in their title or workflow
flowctl test --coverage              also what no scenario went through
flowctl test --junit report.xml      for CI
"""
WATCH_S = 0.5
LOG_COLUMNS = 160  # where no terminal says how wide it is
INDENT = "      "


def command(
    ctx: typer.Context,
    pattern: Annotated[
        str,
        typer.Option(
            "-k", metavar="TEXT", help="Only scenarios with this in their title or workflow.", show_default=False
        ),
    ] = "",
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Tell which steps, branches and time-outs no scenario went through.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Run again whenever a file changes.")] = False,
    junit: Annotated[
        str, typer.Option("--junit", metavar="FILE", help="Also write JUnit XML.", show_default=False)
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Run scenario tests: the real engine in memory, on a virtual clock.

    A failure shows what was expected beside the contact's whole timeline. Exits 1 where one fails.
    """
    said = invocation(ctx)
    if not watch:
        return _run(said, pattern, coverage=coverage, junit=junit, as_json=as_json)
    seen: dict[str, int] = {}
    while True:
        now = _stamps(said)
        if now != seen:
            seen = now
            try:
                _run(said, pattern, coverage=coverage, junit=junit, as_json=as_json)
            except (ProblemsFound, UsageFailure) as fault:
                for problem in fault.problems if isinstance(fault, ProblemsFound) else ():
                    said.say(render.concise(problem))
                said.say(f"error: {fault.message}\nhelp: {fault.help}")
        time.sleep(WATCH_S)


def _stamps(said: Invocation) -> dict[str, int]:
    return {
        str(path): path.stat().st_mtime_ns
        for path in said.root().rglob("*")
        if path.suffix in {".yaml", ".md", ".html", ".mjml", ".json"} and path.is_file()
    }


def _run(said: Invocation, pattern: str, *, coverage: bool, junit: str, as_json: bool) -> int:
    from flowctl.simulate.coverage import coverage as covered
    from flowctl.simulate.scenario import Bench, selected

    project = said.project()
    chosen = selected(project, pattern)
    if not chosen and not project.errors:
        message = f"no scenario matches {pattern!r}" if pattern else "the project has no scenario tests"
        raise UsageFailure(message, help="write `test:` files; language.md of the documentation tells how")
    began = time.perf_counter()
    bench = Bench(project)
    try:
        outcomes = [bench.run(name, scenario) for name, scenario in chosen]
        gaps = covered(project, bench.trail) if coverage else []
    finally:
        bench.close()
    took_s = time.perf_counter() - began
    lived = [(outcome, scenario) for outcome, (_, scenario) in zip(outcomes, chosen, strict=True)]
    if junit:
        _write_junit(said, junit, lived)
    if as_json:
        tests = [_as_data(outcome, scenario) for outcome, scenario in lived]
        render.document("tests", {"tests": tests, "coverage": [asdict(each) for each in gaps]})
    else:
        _show(outcomes, gaps)
    failed = sum(not outcome.passed for outcome in outcomes)
    said.say(f"{len(outcomes) - failed} passed, {failed} failed in {took_s:.1f} s")
    return 1 if failed else 0


def _show(outcomes: Sequence[Outcome], gaps: Sequence[Coverage]) -> None:
    for outcome in outcomes:
        mark, shade = ("ok  ", "32") if outcome.passed else ("FAIL", "1;31")
        shown = f"\033[{shade}m{mark}\033[0m" if render.colour() else mark
        print(f"{shown}  {render.printable(outcome.name)}")
        for wrong in outcome.mismatches:
            print(f"      --> {wrong.place}\n      expected  {wrong.expected}\n      found     {wrong.found}")
        if outcome.timeline:
            print(f"\n{_told(outcome.timeline)}\n")
    for each in gaps:
        print(f"{each.workflow}: {each.covered} of {each.total} steps and ways gone through")
        for gap in each.gaps:
            print(f"  {gap.place}: {gap.what}")


def _told(story: Timeline) -> str:
    """The whole timeline, the same for a terminal and for the log of a CI."""
    from flowctl.cli.explain import drawn, head

    columns = get_terminal_size().columns if render.is_terminal() else LOG_COLUMNS
    lines = [head(story), *drawn(story, columns - len(INDENT))]
    return "\n".join(f"{INDENT}{line}".rstrip() for line in lines)


def _as_data(outcome: Outcome, scenario: ScenarioBody) -> dict[str, Any]:
    from flowctl.cli.explain import as_data

    return {
        "name": outcome.name,
        "of": list(scenario.of),
        "place": str(scenario.place),
        "passed": outcome.passed,
        "ticks": outcome.ticks,
        "mismatches": [
            {"place": str(wrong.place), "expected": wrong.expected, "found": wrong.found}
            for wrong in outcome.mismatches
        ],
        "timeline": as_data(outcome.timeline) if outcome.timeline else None,
    }


def _write_junit(said: Invocation, path: str, outcomes: Sequence[tuple[Outcome, ScenarioBody]]) -> None:
    from xml.etree.ElementTree import Element, ElementTree, SubElement

    failed = sum(not outcome.passed for outcome, _ in outcomes)
    suite = Element("testsuite", name="flowctl", tests=str(len(outcomes)), failures=str(failed))
    for outcome, scenario in outcomes:
        of, place = ", ".join(scenario.of), scenario.place
        case = SubElement(suite, "testcase", name=outcome.name, classname=of, file=place.path, line=str(place.line))
        if not outcome.passed:
            text = "\n".join(
                f"{wrong.place}: expected {wrong.expected}; found {wrong.found}" for wrong in outcome.mismatches
            )
            told = f"{text}\n\n{_told(outcome.timeline)}" if outcome.timeline else text
            SubElement(case, "failure", message=text.splitlines()[0]).text = told
    ElementTree(suite).write(said.directory / path, encoding="utf-8", xml_declaration=True)
