"""Providers that `adapter: http` speaks to: those that come with flowctl, and whether channels and descriptions hold together."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flowctl.language.adapters import ADAPTERS, DESCRIPTIVE
from flowctl.language.faults import listed, nearest
from flowctl.language.problem import Place, Problem
from flowctl.language.source import Mapping, Scalar, Sequence, parse_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.provider import Provider
    from flowctl.language.settings import ChannelSettings
    from flowctl.language.source import Node
    from flowctl.project.project import Project

PACKAGED = Path(__file__).parent / "providers"
_ONE_BRACE = re.compile(r"\{[^{}]*\}")
_OVH_VALUES = ("application_key", "application_secret", "consumer_key")


@cache
def packaged_names() -> tuple[str, ...]:
    """The providers that come with flowctl."""
    return tuple(sorted(path.stem for path in PACKAGED.glob("*.yaml")))


@cache
def packaged(name: str) -> Provider:
    """One of them, read."""
    from flowctl.language.provider import Provider  # noqa: PLC0415 - only where a channel has one
    from flowctl.language.reading import validate  # noqa: PLC0415 - the same

    root, problems = parse_text(f"{name}.yaml", packaged_text(name))
    assert root is not None, problems  # noqa: S101 - tests read every one of them
    made, faults = validate(Provider, root)
    assert isinstance(made, Provider), faults  # noqa: S101 - the same
    return made


def packaged_text(name: str) -> str:
    """Its file, to copy and change."""
    return (PACKAGED / f"{name}.yaml").read_text(encoding="utf-8")


def provider_of(project: Project, name: str) -> Provider | None:
    """The provider of a name: the project's own, else the one that comes with flowctl."""
    own = project.providers.get(name)
    return own or (packaged(name) if name in packaged_names() else None)


def channel_faults(project: Project) -> Iterator[Problem]:
    """What is wrong with `channels:`, of all environments."""
    settings = project.settings
    for channels in (settings.channels, *(each.channels for each in settings.environments.values())):
        for name, said in channels.items():
            yield from _of_channel(project, name, said)


def _of_channel(project: Project, name: str, said: ChannelSettings) -> Iterator[Problem]:
    adapter = ADAPTERS.get(said.adapter)
    if adapter is None:
        near = nearest(said.adapter, ADAPTERS)
        hint = f"; did you mean `{near}`?" if near else ""
        yield _invalid(
            said.place_of("adapter"),
            f"there is no adapter `{said.adapter}`{hint}",
            f"there is {listed(sorted(ADAPTERS))}",
        )
        return
    if name not in adapter.channels:
        able = [each for each, one in sorted(ADAPTERS.items()) if name in one.channels]
        yield _invalid(
            said.place_of("adapter"),
            f"adapter `{said.adapter}` does not serve {name}",
            f"{name} can have {listed(able)}",
        )
    for key in said.node.entries if said.node else ():
        if key not in adapter.may | DESCRIPTIVE | {"adapter"}:
            known = ", ".join(sorted(adapter.may)) or "none"
            yield _invalid(
                said.place_of_key(key), f"adapter `{said.adapter}` has no setting `{key}`", f"its settings are {known}"
            )
    for key in adapter.must:
        if getattr(said, key) is None:
            yield _invalid(
                said.place, f"adapter `{said.adapter}` needs `{key}:`", f"write `{key}: …` for channel {name}"
            )
    provider = provider_of(project, said.provider) if said.provider and said.adapter == "http" else None
    if provider is not None:
        yield from _of_values(name, said, provider)


def _of_values(name: str, said: ChannelSettings, provider: Provider) -> Iterator[Problem]:
    if name not in provider.channels:
        yield _invalid(
            said.place_of("provider"),
            f"provider `{provider.name}` does not serve {name}",
            f"it serves {listed(provider.channels)}",
        )
    for value in provider.values:
        if value not in said.values:
            text = f"provider `{provider.name}` needs `{value}` in `values:`"
            yield _invalid(said.place_of("values"), text, f'write `values: {{{value}: "${{{value.upper()}}}"}}`')
    for value in said.values:
        if value not in (*provider.values, *provider.optional):
            known = listed([*provider.values, *provider.optional]) or "none"
            yield _invalid(
                said.place_of("values"), f"provider `{provider.name}` knows no value `{value}`", f"it knows {known}"
            )


def provider_faults(provider: Provider) -> Iterator[Problem]:
    """Names in braces that nothing provides, and what a description must not hold."""
    node = provider.node
    if node is None:
        return
    for key in ("request", "lookups"):
        if key in node.entries:
            yield from _names_in(node.entries[key].value, provider)
    for name, lookup in provider.lookups.items():
        if lookup.of not in provider.names or lookup.of == name:
            yield _unknown_name(lookup.of, lookup.place_of("of"), provider)
    if provider.request.sign == "ovh" and (missing := [each for each in _OVH_VALUES if each not in provider.values]):
        text = f"`sign: ovh` needs the values {listed(list(_OVH_VALUES))}; `{missing[0]}` is not among `values:`"
        yield _invalid(provider.request.place_of("sign"), text, "declare it under `values:`")
    if not any(rule.means == "sent" for rule in provider.answers):
        yield _invalid(provider.place_of("answers"), "no answer means `sent`", "say how the provider's yes is known")


def _names_in(node: Node, provider: Provider) -> Iterator[Problem]:
    from flowctl.language.provider import placeholders  # noqa: PLC0415 - only where there are descriptions

    match node:
        case Mapping():
            for entry in node.entries.values():
                yield from _names_in(entry.value, provider)
        case Sequence():
            for item in node.items:
                yield from _names_in(item, provider)
        case Scalar(value=str() as text):
            if "${" in text:
                help_ = "name it under `values:` and write it in braces; channels in flowctl.yaml give it its ${…}"
                yield _invalid(node.place, "a description holds no variables of the environment", help_)
                return
            known = placeholders(text)
            for name in known:
                if name not in provider.names:
                    yield _unknown_name(name, node.place, provider)
            braces = _ONE_BRACE.findall(text.replace("{{", "").replace("}}", ""))
            if len(braces) != len(known):
                yield _invalid(
                    node.place, "braces stand around a name such as {text}", "write {{ and }} for braces themselves"
                )


def _unknown_name(name: str, place: Place, provider: Provider) -> Problem:
    near = nearest(name, provider.names)
    hint = f"; did you mean `{near}`?" if near else ""
    known = ", ".join(provider.names)
    return Problem(
        code="REF001", slug="unknown-reference", message=f"nothing provides `{name}`{hint}", place=place,
        help=f"there is {known}; the provider's own go under `values:`",
    )  # fmt: skip


def _invalid(place: Place, message: str, help_: str) -> Problem:
    return Problem(code="YML007", slug="invalid-value", message=message, place=place, help=help_)
