"""MJML to HTML: what its engine renders, and what it would pass through unseen."""

from __future__ import annotations

import difflib
from html.parser import HTMLParser

from flowctl.engine.bodies import NotConvertible

# What mrml, the engine of mjml-python 1.4, renders; it passes any other tag through, and readers see nothing of it.
_MJML_TAGS = frozenset({
    "mjml", "mj-head", "mj-body", "mj-attributes", "mj-all", "mj-class", "mj-breakpoint", "mj-font", "mj-preview",
    "mj-style", "mj-title", "mj-accordion", "mj-accordion-element", "mj-accordion-text", "mj-accordion-title",
    "mj-button", "mj-carousel", "mj-carousel-image", "mj-column", "mj-divider", "mj-group", "mj-hero", "mj-image",
    "mj-navbar", "mj-navbar-link", "mj-raw", "mj-section", "mj-social", "mj-social-element", "mj-spacer",
    "mj-table", "mj-text", "mj-wrapper",
})  # fmt: skip


def mjml(source: str, language: str) -> str:
    """The HTML of MJML.

    Raises:
        NotConvertible: it has faults, or the library that reads it is not there.
    """
    _check_mjml(source)
    try:
        from mjml import mjml2html  # noqa: PLC0415 - an optional extra
    except ImportError:
        message = "MJML needs mjml-python: pip install 'flowctl[mjml]'"
        raise NotConvertible(message) from None
    try:
        html: str = mjml2html(source)
    except ValueError as error:
        message = f"MJML cannot be read: {error} (every tag that is opened must be closed)"
        raise NotConvertible(message) from None
    return html.replace('lang="und"', f'lang="{language}"')


class _MjmlTags(HTMLParser):
    """The MJML tags of a document, with their lines."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - HTMLParser's
        if tag.startswith("mj"):
            self.found.append((tag, self.getpos()[0]))


def _check_mjml(source: str) -> None:
    parser = _MjmlTags()
    parser.feed(source)
    for tag, line in parser.found:
        if tag == "mj-include":
            message = f"line {line}: mj-include is not supported; a message is one file"
            raise NotConvertible(message)
        if tag not in _MJML_TAGS:
            near = difflib.get_close_matches(tag, _MJML_TAGS, n=1)
            message = f"line {line}: unknown MJML tag <{tag}>" + (f"; did you mean <{near[0]}>?" if near else "")
            raise NotConvertible(message)
    if not any(tag == "mjml" for tag, _ in parser.found):
        message = "no <mjml> in it"
        raise NotConvertible(message)
