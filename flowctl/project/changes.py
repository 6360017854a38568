"""What differs in meaning between two states of a project: steps, waits, audience, messages; not which lines moved."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Literal

from flowctl.project.load import body_path
from flowctl.project.step_changes import step_changes
from flowctl.project.wording import worded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowctl.language.message import Message
    from flowctl.language.model import Model
    from flowctl.project.project import Project

How = Literal["new", "changed", "gone"]
_SHELVES = (
    "workflows",
    "segments",
    "messages",
    "scores",
    "surveys",
    "geofences",
    "scenarios",
    "assumptions",
    "providers",
)
# The resource's name.
_OWN = {"workflow", "segment", "message", "score", "survey", "geofence", "test", "tests", "assumptions", "provider", "name"}  # fmt: skip
_DEPTH_MAX = 4  # of keys; what differs deeper is told whole


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One resource (or `settings`) that means something else now, and in what."""

    kind: str
    name: str
    change: How
    details: tuple[str, ...] = ()


def changes(before: Project, after: Project) -> list[Change]:
    """Everything that differs: settings first, then by kind and name."""
    found: list[Change] = []
    if settings := tuple(_differences(_said(before.settings), _said(after.settings))):
        found.append(Change(kind="settings", name="flowctl.yaml", change="changed", details=settings))
    for shelf in _SHELVES:
        found += _of_shelf(shelf, before, after)
    return found


def _of_shelf(shelf: str, before: Project, after: Project) -> Iterator[Change]:
    kind = shelf if shelf == "assumptions" else shelf.removesuffix("s")
    olds, news = getattr(before, shelf), getattr(after, shelf)
    for name in sorted(olds | news):
        old, new = olds.get(name), news.get(name)
        if old is None or new is None:
            yield Change(kind=kind, name=name, change="new" if old is None else "gone")
            continue
        details = [*_differences(_without_steps(old, shelf), _without_steps(new, shelf))]
        if shelf == "workflows":
            details += step_changes(old.steps, new.steps)
            details += [f"after the goal: {line}" for line in step_changes(old.on_goal, new.on_goal)]
        if shelf == "messages":
            details += _bodies(old, new, before, after)
        if details:
            yield Change(kind=kind, name=name, change="changed", details=tuple(details))


def _said(model: Model) -> dict[str, Any]:
    said: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return said


def _without_steps(model: Model, shelf: str) -> dict[str, Any]:
    left_out = _OWN | ({"steps", "on_goal"} if shelf == "workflows" else set())
    return {key: value for key, value in _said(model).items() if key not in left_out}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], above: str = "", depth: int = 1) -> Iterator[str]:
    """`goal.within: 7d → 14d`, `audience: none → {…}`, `state: draft → not said`, a line each."""
    for key in dict.fromkeys([*old, *new]):
        name = above if key == "*" else f"{above}.{key}" if above else key
        was, now = old.get(key), new.get(key)
        if was == now and (key in old) == (key in new):
            continue
        if isinstance(was, dict) and isinstance(now, dict) and depth < _DEPTH_MAX:
            yield from _differences(was, now, name, depth + 1)
        else:
            yield f"{name}: {worded(was) if key in old else 'not said'} → {worded(now) if key in new else 'not said'}"


def _bodies(old: Message, new: Message, before: Project, after: Project) -> Iterator[str]:
    """Texts beside the message: `body cart.fr.mjml: 3 lines gone, 4 new`."""
    for path in sorted({*_body_paths(old, before), *_body_paths(new, after)}):
        was, now = before.bodies.get(path), after.bodies.get(path)
        if was == now:
            continue
        if was is None or now is None:
            yield f"body {path}: {'new' if was is None else 'gone'}"
            continue
        matcher = SequenceMatcher(None, was.splitlines(), now.splitlines(), autojunk=False)
        changed = [code for code in matcher.get_opcodes() if code[0] != "equal"]
        gone, came = sum(code[2] - code[1] for code in changed), sum(code[4] - code[3] for code in changed)
        yield f"body {path}: {gone} lines gone, {came} new" if changed else f"body {path}: other line ends"


def _body_paths(message: Message, project: Project) -> Iterator[str]:
    for said in _said(message).values():
        files = said.get("file") if isinstance(said, dict) else None
        for file in files.values() if isinstance(files, dict) else [files] if files else []:
            for language in ["", *project.settings.languages]:
                path = body_path(message, str(file).replace("{lang}", language))
                if path in project.bodies:
                    yield path
