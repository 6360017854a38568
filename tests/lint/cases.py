"""Cases of lint: `tests/cases/lint/CODE/{bad,ok}.yaml` laid over the project in `base`.

A case is one file of a project, or several: a line `# file: NAME` begins the next. A file that begins with `project:` is the
project's flowctl.yaml.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

CASES = Path(__file__).parents[1] / "cases" / "lint"
BASE = CASES / "base"


def texts(case: Path) -> dict[str, str]:
    """The files of a case's project, by path."""
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted(BASE.iterdir())}
    parts = re.split(r"^# file: (\S+)\n", case.read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    if parts[0]:
        named = {"flowctl.yaml" if parts[0].startswith("project:") else case.name: parts[0], **named}
    return {**found, **named}


def write(case: Path, folder: Path) -> Path:
    """The project of a case in a folder."""
    for name, text in texts(case).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def commit(root: Path, at: str) -> None:
    """Make a git repository of a project, with one commit of that time."""
    author = {"GIT_AUTHOR_NAME": "Ana", "GIT_AUTHOR_EMAIL": "ana@example.com", "GIT_AUTHOR_DATE": at}
    committer = {name.replace("AUTHOR", "COMMITTER"): value for name, value in author.items()}
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "A commit"]):
        subprocess.run(["git", "-C", str(root), *words], check=True, env={**os.environ, **author, **committer})


def joined(case: Path, changed: dict[str, str]) -> str:
    """The text of a case with some of its files changed."""
    said = case.read_text(encoding="utf-8")
    parts = re.split(r"^(# file: \S+\n)", said, flags=re.MULTILINE)
    first = "flowctl.yaml" if parts[0].startswith("project:") else case.name
    texts = [changed.get(first, parts[0])]
    for mark, text in zip(parts[1::2], parts[2::2], strict=True):
        texts += [mark, changed.get(mark.removeprefix("# file: ").strip(), text)]
    return "".join(texts)
