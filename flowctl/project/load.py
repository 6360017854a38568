"""Reads a project's files into a Project, with every fault of every file; never raises for bad input."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from posixpath import normpath
from typing import TYPE_CHECKING, Any

from flowctl.failure import UsageFailure
from flowctl.language.attached import FILE_BYTES_MAX, encoded, encoded_bytes_max, is_encoded
from flowctl.language.problem import Place, Problem, Related
from flowctl.language.reading import SETTINGS, SINGULAR, Declaration, read, read_settings
from flowctl.language.source import decode, parse_text
from flowctl.project.find import SETTINGS_FILE
from flowctl.project.origins import DiskFiles, EditedFiles, Origin, TextFiles
from flowctl.project.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from flowctl.language.model import Model
    from flowctl.language.settings import Settings

BODY_BYTES_MAX = 4 * 1024 * 1024

_SHELVES = {
    "workflow": "workflows", "segment": "segments", "message": "messages", "score": "scores", "survey": "surveys",
    "geofence": "geofences", "test": "scenarios", "assumptions": "assumptions",
    "provider": "providers",
}  # fmt: skip
_DECLARES = re.compile(
    rf"^({'|'.join(key for key, kind in SINGULAR.items() if key == kind)}):[ \t]*['\"]?([^\s'\"#]+)", re.MULTILINE
)


def load(root: Path, *, environment: str = "") -> Project:
    """Read the project in `root`, the folder that holds flowctl.yaml; `environment` is the block of `environments:` to lay over it.

    Raises:
        UsageFailure: there is no such environment.
    """
    return load_from(DiskFiles(root), root, environment=environment)


def load_texts(texts: dict[str, str], root: Path) -> Project:
    """Read a project from texts by path: a release's snapshot, or a test's."""
    return load_from(TextFiles(texts), root)


def load_edited(texts: Mapping[str, str], root: Path, *, environment: str = "") -> Project:
    """Read the project in `root` with some texts in place of its files."""
    return load_from(EditedFiles(DiskFiles(root), texts), root, environment=environment)


def load_from(origin: Origin, root: Path, *, environment: str = "") -> Project:
    """Read a project from whatever can list and read its files."""
    from flowctl.language.settings import Settings  # noqa: PLC0415 - loaded only where it is needed
    from flowctl.project.references import check, check_partial  # noqa: PLC0415 - loaded only where it is needed

    shelf = _Shelf()
    _take_file(shelf, origin, SETTINGS_FILE)
    read_sound = shelf.settings is not None
    settings: Settings = shelf.settings if isinstance(shelf.settings, Settings) else Settings(project="unreadable")
    settings = _in_environment(settings, environment) if read_sound else settings
    for path in origin.paths(settings.exclude):
        _take_file(shelf, origin, path)
    shelf.problems += _duplicates(shelf.declarations)
    bodies = {**_bodies(shelf, origin, settings), **_attachments(shelf, origin)}
    resources: dict[str, dict[str, Any]] = {name: {} for name in _SHELVES.values()}
    declared: dict[str, dict[str, Place]] = {kind: {} for kind in _SHELVES}
    for one in shelf.declarations:
        if one.name:
            declared[one.kind].setdefault(one.name, one.place)
        if one.model is not None:
            resources[_SHELVES[one.kind]].setdefault(one.name, one.model)
    project = Project(
        root=root,
        settings=settings,
        environment=environment if read_sound else "",
        sources=shelf.sources,
        bodies=bodies,
        settings_sound=read_sound,
        declared=declared,
        workflows=resources["workflows"],
        segments=resources["segments"],
        messages=resources["messages"],
        scores=resources["scores"],
        surveys=resources["surveys"],
        geofences=resources["geofences"],
        scenarios=resources["scenarios"],
        assumptions=resources["assumptions"],
        providers=resources["providers"],
    )
    partial = [(one.kind, one.partial) for one in shelf.declarations if one.partial is not None]
    problems = [*shelf.problems, *check(project, origin.exists), *check_partial(project, partial, origin.exists)]
    return replace(project, problems=tuple(_once(problems)))


def body_path(model: Model, file: str) -> str:
    """The path in the project of a file named in a resource: it stands beside the YAML file that names it."""
    folder = model.place.path.rpartition("/")[0]
    return normpath(f"{folder}/{file}" if folder else file)


@dataclass(slots=True)
class _Shelf:
    """What was read so far."""

    declarations: list[Declaration] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    settings: Model | None = None


def _take_file(shelf: _Shelf, origin: Origin, path: str) -> None:
    data = origin.read(path)
    if isinstance(data, str):
        shelf.problems.append(_problem("YML001", "syntax-error", Place(path=path), f"the file cannot be read: {data}"))
        return
    text, problems = decode(path, data)
    shelf.problems += problems
    if text is None:
        return
    shelf.sources[path] = text
    root, problems = parse_text(path, text)
    shelf.problems += problems
    if root is None:
        shelf.declarations += _rescued(path, text)
        return
    reading = read_settings(root) if path == SETTINGS_FILE else read(root)
    known = {(problem.place.line, problem.place.column) for problem in problems}
    shelf.problems += [
        problem for problem in reading.problems if (problem.place.line, problem.place.column) not in known
    ]
    for one in reading.declarations:
        if one.kind == SETTINGS:
            shelf.settings = one.model
        else:
            shelf.declarations.append(one)


def _rescued(path: str, text: str) -> Iterator[Declaration]:
    """Names that a file with a syntax error seems to declare, so that what refers to them is not reported as well."""
    for match in _DECLARES.finditer(text):
        yield Declaration(kind=match[1], name=match[2], place=Place(path=path), model=None)


def _duplicates(declarations: list[Declaration]) -> Iterator[Problem]:
    first: dict[tuple[str, str], Declaration] = {}
    for one in declarations:
        if not one.name:
            continue
        earlier = first.setdefault((one.kind, one.name), one)
        if earlier is not one:
            related = (Related(place=earlier.place, label="first declared here"),)
            message = f"there are two {one.kind}s named `{one.name}`"
            yield Problem(
                code="REF002",
                slug="duplicate-name",
                message=message,
                place=one.place,
                related=related,
                label="the second",
                help="rename or delete one of them",
            )


def _bodies(shelf: _Shelf, origin: Origin, settings: Settings) -> dict[str, str]:
    """Texts of the files that messages and fetches name; what is missing is `references`' to report."""
    found: dict[str, str] = {}
    for model, file in _named_files(shelf.declarations, settings):
        path = body_path(model, file)
        if path in found or not origin.exists(path):
            continue
        data = origin.read(path, BODY_BYTES_MAX)
        if isinstance(data, str) or len(data) > BODY_BYTES_MAX:
            why = data if isinstance(data, str) else "it is larger than 4 MiB"
            shelf.problems.append(_problem("YML005", "over-limit", model.place, f"`{path}` cannot be read: {why}"))
            continue
        try:
            found[path] = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            place = Place(path=path, line=line, end_line=line, end_column=2)
            shelf.problems.append(
                _problem(
                    "YML001",
                    "syntax-error",
                    place,
                    f"byte {data[error.start]:#04x} is no UTF-8",
                    help_="save the file as UTF-8",
                )
            )
    return found


def _attachments(shelf: _Shelf, origin: Origin) -> dict[str, str]:
    """The files that e-mails bring along, encoded; a release's are already."""
    found: dict[str, str] = {}
    for part, file, place in _attached_files(shelf.declarations):
        path = body_path(part, file)
        if path in found or not origin.exists(path):
            continue
        data = origin.read(path, encoded_bytes_max())
        stored = isinstance(origin, TextFiles) and is_encoded(origin.texts[path])
        if isinstance(data, str) or (len(data) > FILE_BYTES_MAX and not stored):
            why = data if isinstance(data, str) else f"it is larger than {FILE_BYTES_MAX // 1024 // 1024} MiB"
            message = f"`{path}` cannot be attached: {why}"
            help_ = "put the file where people can download it, and send a link"
            shelf.problems.append(_problem("YML005", "over-limit", place, message, help_=help_))
            continue
        found[path] = data.decode("ascii") if stored else encoded(data)
    return found


def _attached_files(declarations: list[Declaration]) -> Iterator[tuple[Model, str, Place]]:
    """Every file that a message attaches, with the block that names it and where."""
    for one in declarations:
        model: Any = one.model
        if one.kind != "message" or model is None:
            continue
        for variant in (model, *model.variants.values()):
            for index, attached in enumerate(variant.email.attach if variant.email else ()):
                if isinstance(attached, str):
                    entry = variant.email.entry("attach")
                    place = entry.value.items[index].place if entry else variant.email.place
                    yield variant.email, attached, place


def _named_files(declarations: list[Declaration], settings: Settings) -> Iterator[tuple[Model, str]]:
    """Every file that a message or a fetch names, with the block that names it."""
    for one in declarations:
        model: Any = one.model
        if model is None:
            continue
        if one.kind == "message":
            for variant in (model, *model.variants.values()):
                for part in (variant.email, variant.in_app, variant.on_site):
                    if part is not None and part.file:
                        languages = settings.languages if "{lang}" in part.file else [""]
                        yield from ((part, part.file.replace("{lang}", language)) for language in languages)
        elif one.kind == "workflow":
            from flowctl.language.steps import FetchStep, walk  # noqa: PLC0415 - only where there are workflows

            for step in walk([*model.steps, *model.on_goal]):
                if isinstance(step, FetchStep) and step.fetch.sample:
                    yield step.fetch, step.fetch.sample


def _in_environment(settings: Settings, name: str) -> Settings:
    if not name:
        return settings
    chosen = settings.environments.get(name)
    if chosen is None:
        known = ", ".join(settings.environments) or "none"
        message = f"flowctl.yaml has no environment `{name}`"
        raise UsageFailure(message, help=f"there is: {known}")
    changes: dict[str, Any] = {}
    for key in chosen.model_fields_set & {"store", "public_url", "quiet_hours", "pressure"}:
        changes[key] = getattr(chosen, key)
    for key in chosen.model_fields_set & {"channels", "services"}:
        changes[key] = {**getattr(settings, key), **getattr(chosen, key)}
    return settings.model_copy(update=changes)


def _once(problems: list[Problem]) -> list[Problem]:
    seen: dict[tuple[str, Place, str], Problem] = {}
    for problem in problems:
        seen.setdefault((problem.code, problem.place, problem.message), problem)
    return sorted(seen.values(), key=lambda problem: (problem.place, problem.code))


def _problem(code: str, slug: str, place: Place, message: str, *, help_: str = "") -> Problem:
    return Problem(code=code, slug=slug, message=message, place=place, help=help_)
