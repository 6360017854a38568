"""From what people write (Markdown, MJML, HTML) to HTML and text templates, with the template's own tags left alone.

The tags are swapped for words that mean nothing to any of these languages and put back when the conversion is done, so
that a contact's data, which only ever enters through the tags, is never Markdown, MJML or markup.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from jinja2 import nodes

from flowctl.engine.references import BASE64_GROWTH, UNSHOWN
from flowctl.engine.sandbox import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = str  # markdown | html | mjml

# Letters and digits only, so that no language sees anything in them and no URL is changed by them.
_WORD = "zqjinja{}{:04d}qz"
_WORDS = re.compile(r"zqjinja([vb])(\d{4})qz")
_ALONE = re.compile(r"^[ \t]*((?:zqjinjab\d{4}qz[ \t]*)+)$", re.MULTILINE)
_OPENING = re.compile(r"\{(?=[{%#])")
_ALONE_IN_LINE = re.compile(r"^[ \t]*((?:zqjinjab\d{4}qz[ \t]*)+)\n", re.MULTILINE)
_PARAGRAPH = re.compile(r"<p>((?:\s*zqjinjab\d{4}qz\s*)+)</p>")
# A loop around a whole list, as Markdown makes of it, is meant as a list of the loop's items.
_LIST = re.compile(r"(zqjinjab\d{4}qz)\s*<(ul|ol)>\n((?:(?!</?[uo]l>).)*)</\2>\s*(zqjinjab\d{4}qz)", re.DOTALL)
# What makes values of a template's text. Those of a recursive loop are some, too.
_VALUES: tuple[type[nodes.Node], ...] = (
    nodes.AssignBlock,
    nodes.FilterBlock,
    nodes.Macro,
    nodes.CallBlock,
    nodes.Block,
)
_NAME = re.compile(r"\{%[-+]?\s*(\w+)")
_ENDS = {
    "variable_begin": "variable_end",
    "block_begin": "block_end",
    "comment_begin": "comment_end",
    "raw_begin": "raw_end",
}
_BLANKS = re.compile(r"\n[ \t]+(?=\n)")  # begins with a plain character, which is looked for fast
_ROWS = ("table", "tbody", "thead", "tfoot", "tr", "colgroup")
TAGS_MAX = 9_999
_TO_HTML = re.compile(r"(?:\||\bfilter\s)\s*(?:safe|e|escape)\b")
# Whose text is taken as it stands: references mean nothing in it.
_RAW_ELEMENT = re.compile(
    r"<(style|script|xmp|iframe|noembed|noframes|plaintext)\b.*?(?:</(?!plaintext)\1|\Z)",
    re.DOTALL | re.IGNORECASE,
)

_PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title></title></head>
<body style="margin:0;padding:0;background:#ffffff">
<div style="max-width:600px;margin:0 auto;padding:24px;font-family:Helvetica,Arial,sans-serif;font-size:16px;\
line-height:1.5;color:#222222">
{body}</div>
</body></html>
"""


class NotConvertible(ValueError):
    """A body cannot be made into an e-mail; the message says why."""


class _Tags:
    """A template whose tags are words for the time being."""

    def __init__(self, source: str) -> None:
        self._tags: list[str] = []
        self.text = "".join(self._swapped(source))

    def back(self, text: str) -> str:
        """The tags in their places again."""
        return _WORDS.sub(lambda found: self._tags[int(found[2])], text)

    def bring_html(self) -> bool:
        """Whether a filter in them makes HTML of a value."""
        return any(_TO_HTML.search(tag) for tag in self._tags)

    def name(self, word: str) -> str:
        """What a tag is: `for`, `endif`; empty where it is none that has a name."""
        found, tag = _WORDS.fullmatch(word), None
        if found is not None:
            tag = _NAME.match(self._tags[int(found[2])])
        return tag[1] if tag else ""

    def _swapped(self, source: str) -> Iterator[str]:
        end, parts, before = "", [""], ""
        for _, kind, text in sandbox(html=False).lex(source):
            if end:
                parts.append(text)
                if kind == end:
                    yield self._word("".join(parts))
                    end, parts = "", []
            elif kind in _ENDS:
                if before.endswith("{"):  # blanks that the tag takes stood between, and do again: `{{{-` is another tag
                    yield " "
                end, parts, before = _ENDS[kind], [text], ""
            else:
                before = text
                yield text

    def _word(self, tag: str) -> str:
        if len(self._tags) >= TAGS_MAX:
            message = f"more than {TAGS_MAX} template tags"
            raise NotConvertible(message)
        self._tags.append(tag)
        return _WORD.format("v" if tag.startswith("{{") else "b", len(self._tags) - 1)


def to_html(source: str, kind: Kind, language: str, *, page: bool = True) -> str:
    """The HTML template of a body; without `page`, Markdown makes a piece of one.

    HTML in Markdown is kept: who writes the file may write HTML, and no data gets there unescaped.

    Raises:
        NotConvertible: MJML with faults, or without the library that reads it.
        jinja2.TemplateSyntaxError: a tag that does not end.
    """
    if kind == "html":
        return source
    from flowctl.engine.mjml import mjml  # noqa: PLC0415 - only what is compiled needs it, and no process that renders

    tags = _Tags(source)
    converted = _markdown(tags, language if page else None) if kind == "markdown" else mjml(tags.text, language)
    return tags.back(_literal(converted))


def to_text(html: str) -> str | None:
    """The text template of an HTML template, or None where its tags would not mean the same in text.

    None: the text part is to be made from the rendered HTML. A loop over the rows of a table is such a case: as text,
    its tags would end up beside the table and not around the row. A value that brings HTML (`|safe`, `|e`) is another.
    """
    tags = _Tags(html)
    if tags.bring_html():
        return None
    text = text_of(tags.text)
    if _in_rows(tags.text) or not _same_structure(tags.text, text):
        return None
    return tags.back(_ALONE_IN_LINE.sub(lambda found: found[1].strip(), _literal(text)))


def _literal(converted: str) -> str:
    """What was no tag before it was converted is none after: entities become braces."""
    return _OPENING.sub("{{ '{' }}", converted)


def in_references(html: str) -> str:
    """An HTML template whose own text is ASCII: references (`&#233;`) for the rest, but in <style> and <script>.

    Raises:
        jinja2.TemplateSyntaxError: a tag that does not end.
    """
    tags = _Tags(html)
    parts, end = [], 0
    for element in _RAW_ELEMENT.finditer(tags.text):
        parts += [_in_references(tags.text[end : element.start()]), element[0]]
        end = element.end()
    return tags.back("".join([*parts, _in_references(tags.text[end:])]))


def _in_references(text: str) -> str:
    return text.encode("ascii", "xmlcharrefreplace").decode()


def may_refer(html: str) -> bool:
    """Whether what is beyond ASCII may stand as references (`&#233;`) in a template and in the values it prints.

    Not where something of it could get into a <style> or <script>; nor where the template makes values of its own text, which
    filters would then take for the characters of the references; nor where base64 is shorter (RFC 2045 §6.8).
    """
    if "safe" in html or "autoescape" in html:  # a value may bring its own
        return False
    if UNSHOWN.search(html):  # a reference to it would mean another character
        return False
    if not all(found[0].isascii() and not _OPENING.search(found[0]) for found in _RAW_ELEMENT.finditer(html)):
        return False
    tree = sandbox(html=True).parse(html)
    if any(True for _ in tree.find_all(_VALUES)) or any(loop.recursive for loop in tree.find_all(nodes.For)):
        return False
    return len(in_references(html)) <= len(html.encode()) * BASE64_GROWTH


def text_of(html: str) -> str:
    """HTML as plain text; links as [words](address), at most one blank line in a row."""
    from inscriptis import get_text  # noqa: PLC0415 - lxml takes 30 ms
    from inscriptis.css_profiles import CSS_PROFILES  # noqa: PLC0415 - the same
    from inscriptis.model.config import ParserConfig  # noqa: PLC0415 - the same

    text = get_text(html, ParserConfig(css=CSS_PROFILES["strict"], display_links=True))
    return squeezed("\n".join(line.rstrip() for line in text.splitlines()))


def squeezed(text: str) -> str:
    """Text with at most one blank line in a row, nothing in it; none in front, one line end behind."""
    if " \n" in text or "\t\n" in text:  # looking costs less than the pattern does
        text = _BLANKS.sub("\n", text)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip("\n") + "\n"


def _markdown(tags: _Tags, language: str | None) -> str:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - only `apply` and previews need it

    # A line of nothing but {% … %} stands between blocks, not in a paragraph of its own.
    spaced = _ALONE.sub(lambda found: f"\n{found[1].strip()}\n", tags.text)
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(spaced)
    html = _LIST.sub(functools.partial(_looped, tags), _PARAGRAPH.sub(lambda found: found[1].strip(), html))
    return _PAGE.format(language=language, body=html) if language is not None else html


def _looped(tags: _Tags, found: re.Match[str]) -> str:
    """One list around a loop that made a list a turn; as it is where the tags are no loop around it."""
    first, kind, items, last = found.groups()
    inside = [tags.name(word[0]) for word in _WORDS.finditer(items) if word[1] == "b"]
    if (tags.name(first), tags.name(last)) != ("for", "endfor") or not _is_balanced(inside):
        return found[0]
    return f"<{kind}>\n{first}\n{items}{last}\n</{kind}>"


def _is_balanced(names: list[str]) -> bool:
    """Whether all that these tags open they close, and nothing else."""
    opened: list[str] = []
    for name in names:
        if name in ("if", "for"):
            opened.append(name)
        elif name in ("elif", "else"):
            if not opened:
                return False
        elif not opened or name != f"end{opened.pop()}":
            return False
    return not opened


def _in_rows(html: str) -> bool:
    """Whether a block tag stands directly between the rows or cells of a table."""
    if not _WORDS.search(html):
        return False
    from lxml.html import document_fromstring  # type: ignore[import-untyped]  # noqa: PLC0415 - ships no types

    for element in document_fromstring(html).iter():
        if element.tag in _ROWS:
            beside = [element.text, *(child.tail for child in element)]
            if any("zqjinjab" in (text or "") for text in beside):
                return True
    return False


def _same_structure(html: str, text: str) -> bool:
    """Whether all block tags are there in order, with the same variables between them (some may have gone: images)."""
    there, here = _by_block(html), _by_block(text)
    return [block for block, _ in there] == [block for block, _ in here] and all(
        mine <= theirs for (_, theirs), (_, mine) in zip(there, here, strict=True)
    )


def _by_block(text: str) -> list[tuple[str, set[str]]]:
    found: list[tuple[str, set[str]]] = [("", set())]
    for match in _WORDS.finditer(text):
        if match[1] == "b":
            found.append((match[2], set()))
        else:
            found[-1][1].add(match[2])
    return found
