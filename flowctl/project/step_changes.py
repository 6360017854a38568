"""What differs between two lists of steps, told as a marketer would: added, gone, moved, renamed, another wait."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from flowctl.project.wording import worded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.steps import Step

_BRANCHES = ("then", "else", "on_timeout", "otherwise", "steps", "on_skip", "on_missing", "on_past")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """One step: where it stands, such as in `then` of check; what it is called, what it says but for its inner steps."""

    where: str
    label: str
    verb: str
    text: str

    @property
    def named(self) -> str:
        return f"{self.label} ({self.text})" if self.label and self.label not in self.text else self.text


def step_changes(before: Sequence[Step], after: Sequence[Step]) -> list[str]:
    """A line each, in the order of the steps."""
    olds, news = (list(_rows([_dumped(step) for step in steps], "")) for steps in (before, after))
    shared = {row.label for row in olds if row.label} & {row.label for row in news}
    matcher = SequenceMatcher(
        None, [_key(row, shared) for row in olds], [_key(row, shared) for row in news], autojunk=False
    )
    lines: list[str] = []
    gone: list[tuple[int, _Row]] = []
    came: list[tuple[int, _Row]] = []
    for code, i1, i2, j1, j2 in matcher.get_opcodes():
        if code == "equal":
            for old, new in zip(olds[i1:i2], news[j1:j2], strict=True):
                lines += _pair(old, new)
            continue
        left, right = list(enumerate(olds[i1:i2], i1)), list(enumerate(news[j1:j2], j1))
        lines += _likely_pairs(left, right, shared)
        gone += left
        came += right
    lines += _renamed(gone, came, shared)
    moved = {row.label: row for _, row in gone if row.label in shared}
    for index, row in came:
        if row.label in moved:
            lines += [f"step {row.label} moves{_after(news, index)}", *_pair(moved[row.label], row)]
        else:
            lines.append(f"new: {row.named}{_after(news, index)}")
    lines += [f"gone: {row.named}{_after(olds, index)}" for index, row in gone if row.label not in moved]
    return lines


def _dumped(step: Step) -> dict[str, Any]:
    said: dict[str, Any] = step.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return said


def _rows(steps: list[dict[str, Any]], where: str) -> Iterator[_Row]:
    for said in steps:
        verb = next(key for key in said if key not in ("id", "when"))
        inner = dict(_inner(said))
        own = {
            key: value
            for key, value in said.items()
            if key not in ("id", verb) and key not in _BRANCHES and key != "paths"
        }
        own |= {key: said[key] for key in _BRANCHES if key in said and key not in inner}
        value = [{"when": option["when"]} for option in said["choose"]] if verb == "choose" else said[verb]
        more = f" ({', '.join(f'{key}: {worded(value)}' for key, value in own.items())})" if own else ""
        label = said.get("id") or (said["send"] if verb == "send" else "")
        yield _Row(where=where, label=label, verb=verb, text=f"{verb} {worded(value)}{more}")
        for branch, inside in inner.items():
            yield from _rows(inside, f"in `{branch}` of {label or verb}")


def _inner(said: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for number, option in enumerate(said.get("choose", ()), start=1):
        yield f"choice {number}", option["do"]
    for key in _BRANCHES:
        if isinstance(said.get(key), list):
            yield key, said[key]
    yield from said.get("paths", {}).items()


def _key(row: _Row, shared: set[str]) -> tuple[str, ...]:
    return ("label", row.label) if row.label in shared else ("text", row.where, row.text, row.label)


def _likely_pairs(left: list[tuple[int, _Row]], right: list[tuple[int, _Row]], shared: set[str]) -> list[str]:
    """Takes out of both what is the same step said otherwise: the same verb at the same place."""
    lines: list[str] = []
    for old in list(left):
        new = next((each for each in right if (each[1].verb, each[1].where) == (old[1].verb, old[1].where)), None)
        if (
            new is not None
            and not {old[1].label, new[1].label} & shared
            and (old[1].text == new[1].text or old[1].verb != "send")
        ):
            left.remove(old)
            right.remove(new)
            lines += _pair(old[1], new[1])
    return lines


def _renamed(gone: list[tuple[int, _Row]], came: list[tuple[int, _Row]], shared: set[str]) -> list[str]:
    """Takes out of both what says the same under another name, wherever it stands in its branch."""
    lines: list[str] = []
    for old in list(gone):
        new = next((each for each in came if (each[1].text, each[1].where) == (old[1].text, old[1].where)), None)
        if new is not None and not {old[1].label, new[1].label} & shared and old[1].verb != "send":
            gone.remove(old)
            came.remove(new)
            lines += _pair(old[1], new[1])
    return lines


def _pair(old: _Row, new: _Row) -> Iterator[str]:
    if old.label != new.label:
        yield (
            f"step {old.label or old.text} is called {new.label} now"
            if new.label
            else f"step {old.label} has no name any more"
        )
    if old.text != new.text:
        yield f"{new.label + ': ' if new.label and new.label not in old.text else ''}{old.text} → {new.text}"
    if old.where != new.where:
        yield f"{new.named} stands {new.where or 'on the main way'} now, {old.where or 'on the main way'} before"


def _after(rows: list[_Row], index: int) -> str:
    row = rows[index]
    place = f", {row.where}" if row.where else ""
    before = next((each for each in reversed(rows[:index]) if each.where == row.where), None)
    return f"{place}, after {before.label or before.text}" if before else place or ", at the beginning"
