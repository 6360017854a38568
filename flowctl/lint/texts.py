"""Every template of a project as text, with a way from an offset in it to a line and column of its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.language.offsets import place_at, span
from flowctl.language.source import Mapping, Scalar, Sequence
from flowctl.language.steps import ConsentStep, CreateStep, FetchStep, NotifyStep, SetStep, StartStep, TaskStep
from flowctl.project.load import body_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.message import Message, Variant
    from flowctl.language.model import Model
    from flowctl.language.problem import Place
    from flowctl.language.source import Node
    from flowctl.language.steps import Step
    from flowctl.project.project import Project

PARTS = frozenset({"subject", "preheader", "title", "text", "url", "image", "parameters"})
_WITH_TEXTS = frozenset({"consent", "set", "notify", "create", "task", "fetch", "start"})  # steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text that may be a template: a scalar of a YAML file, or a whole body file."""

    value: str
    channel: str  # empty in a step
    scalar: Scalar | None
    path: str
    source: str  # the file's text

    def at(self, place: Place) -> str:
        """What stands at a place of the file."""
        begin, end = span(self.source, place)
        return self.source[begin:end]

    @property
    def is_single_quoted(self) -> bool:
        """Whether it stands between single quotes."""
        return self.scalar is not None and self.at(self.scalar.place).startswith("'")

    def place_at(self, offset: int, word: str) -> Place:
        """Where the word at an offset of the text stands in its file; the whole scalar where escapes hide it."""
        if self.scalar is None:
            return place_at(self.path, self.source, offset, len(word))
        start, end = span(self.source, self.scalar.place)
        at = start - 1
        for _ in range(self.value.count(word, 0, offset) + 1 if word else 0):
            at = self.source.find(word, at + 1, end)
            if at < 0:
                break
        return place_at(self.path, self.source, at, len(word)) if at >= start else self.scalar.place


def message_texts(message: Message, project: Project) -> Iterator[Text]:
    """Every text of a message: its own and its variants', in place and in files, in each language."""
    variants: list[Variant] = [message, *message.variants.values()]
    for variant in variants:
        for channel in message.channels:
            part: Model | None = getattr(variant, channel)
            if part is None:
                continue
            for key, entry in part.node.entries.items() if part.node is not None else ():
                if key in PARTS:
                    yield from _in_node(entry.value, channel, project.sources)
            file = getattr(part, "file", None)
            if file:
                yield from _in_files(part, file, channel, project)


def step_texts(step: Step, project: Project) -> Iterator[Text]:
    """Every text of a step that may be a template."""
    if step.verb not in _WITH_TEXTS:
        return
    holder: Model = step
    match step:
        case SetStep():
            keys = ["set"]
        case NotifyStep():
            keys = ["text"]
        case CreateStep():
            holder, keys = step.create, ["values"]
        case TaskStep():
            holder, keys = step.task, ["title"]
        case FetchStep():
            holder, keys = step.fetch, ["path"]
        case ConsentStep():
            holder, keys = step.consent, ["source"]
        case StartStep():
            holder, keys = step.start, ["with"]
        case _:
            return
    for key in keys:
        entry = holder.entry(key)
        if entry is not None:
            yield from _in_node(entry.value, "", project.sources)


def _in_node(node: Node, channel: str, sources: dict[str, str]) -> Iterator[Text]:
    if isinstance(node, Scalar):
        if isinstance(node.value, str) and "{" in node.value:
            yield Text(
                value=node.value,
                channel=channel,
                scalar=node,
                path=node.place.path,
                source=sources.get(node.place.path, ""),
            )
    elif isinstance(node, Mapping):
        for entry in node.entries.values():
            yield from _in_node(entry.value, channel, sources)
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _in_node(item, channel, sources)


def _in_files(part: Model, file: str, channel: str, project: Project) -> Iterator[Text]:
    for language in project.settings.languages if "{lang}" in file else [""]:
        path = body_path(part, file.replace("{lang}", language))
        body = project.bodies.get(path)
        if body is not None:
            yield Text(value=body, channel=channel, scalar=None, path=path, source=body)
