"""Writes what the docs take from the code: the tables of README.md, docs/commands.md, docs/rules. `--check` only compares."""

from __future__ import annotations

import sys
from difflib import unified_diff
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
COMMANDS = ROOT / "docs" / "commands.md"
PARTS = ("commands", "kinds")
HELP_COLUMNS = 100


def generate(arguments: list[str]) -> int:
    """Write the files, or with --check say which are out of step."""
    wanted = {README: readme(README.read_text(encoding="utf-8")), COMMANDS: command_pages(), **rule_pages()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if "--check" in arguments:
            was = path.read_text(encoding="utf-8") if path.exists() else ""
            rows = unified_diff(was.splitlines(True), wanted[path].splitlines(True), str(path), "as generated")
            print("".join(list(rows)[:20]))
        else:
            path.write_text(wanted[path], encoding="utf-8")
    if stale and "--check" in arguments:
        print("docs out of step: run `make format`")
        return 1
    return 0


def rule_pages() -> dict[Path, str]:
    """The page of every lint rule, from its docstring, and their index."""
    from flowctl.lint.pages import pages

    return {ROOT / "docs" / "rules" / name: text for name, text in pages().items()}


def readme(text: str) -> str:
    """The README with its tables as the registries have them."""
    tables = {"commands": _commands_table(), "kinds": _kinds_table()}
    for part in PARTS:
        begin, end = f"<!-- {part}: written by docs/generate.py -->", f"<!-- /{part} -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{tables[part]}\n{end}{rest.split(end)[1]}"
    return text


def _commands_table() -> str:
    from flowctl.cli import main

    rows = [f"| `{name}` | {section} | {line} |" for name, (section, _, line) in main.COMMANDS.items()]
    return "\n".join(["| command | part | does |", "|---|---|---|", *rows])


def _kinds_table() -> str:
    """Which triggers and steps of the language the engine runs."""
    from flowctl.engine import steps, triggers
    from flowctl.language import steps as language_steps
    from flowctl.language import triggers as language_triggers

    def verbs(module: Any, name: str) -> list[str]:
        classes = [each for each in vars(module).values() if isinstance(each, type)]
        return sorted({vars(each)[name] for each in classes if isinstance(vars(each).get(name), str)})

    rows = ["| | run | refused so far |", "|---|---|---|"]
    ops = {"if": "branch", "choose": "branch"}
    for what, names, known in (
        ("triggers", verbs(language_triggers, "kind"), triggers.MODULES),
        ("steps", verbs(language_steps, "verb"), steps.MODULES),
    ):
        run = [name for name in names if ops.get(name, name) in known]
        refused = [name for name in names if name not in run]
        cells = [", ".join(f"`{name}`" for name in part) or "none" for part in (run, refused)]
        rows.append(f"| {what} | {cells[0]} | {cells[1]} |")
    return "\n".join(rows)


def command_pages() -> str:
    """The help of every command, as it is printed."""
    from flowctl.cli import main

    parts = [
        "# Commands\n",
        "What `flowctl COMMAND --help` prints. Written by docs/generate.py; `make format` brings it up to date.\n",
    ]
    for name in main.COMMANDS:
        command = main.load(name)
        parts += _page(f"flowctl {name}", command)
        parts += [
            text
            for inner, each in getattr(command, "commands", {}).items()
            for text in _page(f"flowctl {name} {inner}", each)
        ]
    return "\n".join(parts)


def _page(name: str, command: Any) -> list[str]:
    context = command.make_context(
        name, [], resilient_parsing=True, terminal_width=HELP_COLUMNS, max_content_width=HELP_COLUMNS
    )
    text = "\n".join(line.rstrip() for line in command.get_help(context).strip().splitlines())
    return [f"## {name}\n", f"```text\n{text}\n```\n"]


if __name__ == "__main__":
    raise SystemExit(generate(sys.argv[1:]))
