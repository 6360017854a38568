"""What `apply` makes of a message: a snapshot of templates that a tick can fill without reading a file or a model.

A snapshot is plain JSON. A text that serves every language stands under `*`.

    {"name": "cart-reminder", "purpose": "marketing", "topic": "offers" | null,
     "languages": ["fr", "nl", "en"],                   the project's; the first is the fallback
     "order": ["email", "sms"],                         the message's channels, as written
     "channels": {
       "email": {"sender": {"name": "Maison Lune", "address": "bonjour@…", "reply_to": "…" | null},
                 "subject": {"fr": TEMPLATE, …},
                 "bodies": {"fr": {"html": TEMPLATE, "text": TEMPLATE | null, "inline_css": false}, …},
                 "attach": [{"name": "terms.pdf", "type": "application/pdf", "digest": "…"}, {"from": ["invoice"]}]},
       "sms":   {"sender": {"name": "Maison Lune", "address": "MaisonLune", "reply_to": null},
                 "fields": {"text": {"fr": TEMPLATE, …}}},        likewise title, url, image, template
       "in_app": {"sender": …, "fields": …, "bodies": {…}}},     `bodies` where a `file:` is its body
     "feedback": "maison-lune",                         the project, as Feedback-ID names it
     "variants": {"short": {"email": {… whole, as above …}}},
     "surveys": ["nps"], "coupons": ["WELCOME10"], "events": {"page_viewed": 5},    what the templates call for
     "digest": "…"}                                      of all the above: tells message versions apart

`text: null` means that the text part is made from the rendered HTML (see `bodies.to_text`).
"""

from __future__ import annotations

import difflib
import hashlib
import html as markup
import json
import posixpath
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError, TemplateSyntaxError, meta, nodes

from flowctl.engine.attachments import of_file
from flowctl.engine.bodies import NotConvertible, to_html, to_text
from flowctl.engine.languages import ANY_LANGUAGE, pick
from flowctl.engine.sandbox import sandbox
from flowctl.failure import ProblemsFound
from flowctl.language.attached import LETTER_BYTES_MAX
from flowctl.language.problem import Place, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from flowctl.language.message import EmailVariant, Message, Variant
    from flowctl.language.settings import Sender

Snapshot = dict[str, Any]
ByLanguage = dict[str, str]
NAMES = frozenset(
    {
        "contact",
        "trigger",
        "data",
        "input",
        "now",
        "unsubscribe_url",
        "preferences_url",
        "events",
        "survey_url",
        "coupon",
    }
)
# What is fetched before a template runs, so that it must be said in so many words: the call → an example of it.
CALLS = {"survey_url": 'survey_url("nps")', "coupon": 'coupon("WELCOME10")', "events": 'events.last("page_viewed", 5)'}
FEEDBACK_CHARS = (5, 15)
EVENTS_MAX = 100  # what one template may look back on
_KINDS = {".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html", ".mjml": "mjml"}
_FIELDS = ("title", "text", "url", "image", "template")
_UNSUBSCRIBE = {
    "fr": "Se désabonner",
    "nl": "Uitschrijven",
    "de": "Abmelden",
    "es": "Darse de baja",
    "en": "Unsubscribe",
}
_FOOTER = (
    '<div style="max-width:600px;margin:24px auto 0;padding:16px 24px;border-top:1px solid #dddddd;'
    'font-family:Helvetica,Arial,sans-serif;font-size:12px;line-height:1.5;color:#666666">\n{sender}<br>\n'  # what differs a letter in a line of its own
    '<a href="{{{{ unsubscribe_url }}}}" style="color:#666666">{word}</a></div>'
)
_PREHEADER = '<div style="display:none;max-height:0;overflow:hidden">{text}</div>'


def prepare(
    message: Message,
    *,
    senders: Mapping[str, Sender],
    languages: Sequence[str],
    read: Callable[[str], str | None],
    project: str = "",
) -> Snapshot:
    """The snapshot of a message. `read` gives a file of the project by its path from the project's folder, or None.

    A file to attach is given as `language.attached` encodes it; the snapshot has its digest.

    Raises:
        ProblemsFound: everything that is wrong with its templates, with positions.
    """
    return {**_Preparation(message, senders, languages, read).snapshot(), "feedback": _feedback_sender(project)}


class _Preparation:
    """One message on its way to a snapshot, and what was found wrong."""

    def __init__(
        self,
        message: Message,
        senders: Mapping[str, Sender],
        languages: Sequence[str],
        read: Callable[[str], str | None],
    ) -> None:
        self._message = message
        self._senders = senders
        self._languages = list(languages)
        self._read = read
        self._problems: list[Problem] = []
        self._called: dict[str, dict[str, int]] = {"survey_url": {}, "coupon": {}, "events": {}}

    def snapshot(self) -> Snapshot:
        message = self._message
        made: Snapshot = {
            "name": message.name,
            "purpose": message.purpose,
            "topic": message.topic,
            "languages": self._languages,
            "order": list(message.channels),
            "channels": {channel: self._channel(channel, getattr(message, channel)) for channel in message.channels},
            "variants": {name: self._variant(variant) for name, variant in message.variants.items()},
        }
        if self._problems:
            raise ProblemsFound(self._problems)
        made["surveys"], made["coupons"] = sorted(self._called["survey_url"]), sorted(self._called["coupon"])
        made["events"] = self._called["events"]
        made["digest"] = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]
        return made

    def _variant(self, variant: Variant) -> dict[str, Any]:
        """Its channels, whole: what the variant says over what the message says."""
        made: dict[str, Any] = {}
        for channel in variant.channels:
            if channel not in self._message.channels:
                self._found(
                    variant.place_of_key(channel),
                    "YML007",
                    "invalid-value",
                    f"a variant says how it differs, and the message itself is not written for {channel}",
                    f"write `{channel}:` for the message first",
                )
        for channel in self._message.channels:
            said = getattr(variant, channel)
            if said is not None:
                base = getattr(self._message, channel)
                own_body = {"text", "file"} & said.model_fields_set
                kept = {
                    name: getattr(base, name)
                    for name in base.model_fields_set
                    if not (own_body and name in ("text", "file"))
                }
                merged = base.model_copy(update=kept | {name: getattr(said, name) for name in said.model_fields_set})
                if own_body:
                    merged = merged.model_copy(update=dict.fromkeys({"text", "file"} - own_body))
                made[channel] = self._channel(channel, merged)
        return made

    def _channel(self, channel: str, variant: Any) -> dict[str, Any]:
        sender = self._sender(channel, variant)
        if channel == "email":
            made = {"sender": sender, "subject": self._subject(variant), "bodies": self._bodies(variant, sender)}
            return {**made, "attach": list(self._attached(variant))} if variant.attach else made
        bodies = self._pages(variant) if getattr(variant, "file", None) else {}
        fields: dict[str, ByLanguage] = {}
        for name in _FIELDS:
            said = getattr(variant, name, None)
            if said:
                fields[name] = {ANY_LANGUAGE: said} if isinstance(said, str) else dict(said)
                for text in fields[name].values():
                    self._names(text, variant.place_of(name))
        parameters = getattr(variant, "parameters", None) or []
        for text in parameters:
            self._names(text, variant.place_of("parameters"))
        listed = {"parameters": list(parameters)} if parameters else {}
        return {"sender": sender, "fields": fields, **listed, **({"bodies": bodies} if bodies else {})}

    def _attached(self, variant: EmailVariant) -> Iterator[dict[str, Any]]:
        """Files by name and digest; what `fetch` saves by its path in `data`."""
        total = 0
        for each in variant.attach:
            if isinstance(each, str):
                text = self._read(attached_path(variant, each))
                if text is None:
                    self._found(
                        variant.place_of("attach"),
                        "REF001",
                        "unknown-reference",
                        f"no file `{each}` beside the message",
                    )
                    continue
                said, content = of_file(each, text)
                total += len(content)
                yield said
                continue
            scope, _, path = each.from_.partition(".")
            if scope != "data" or each.plus or each.minus:
                self._found(
                    each.place, "YML007", "invalid-value", "only what a `fetch` saved can be attached",
                    "write `{from: data.NAME}`, with NAME as in its `save_as`",
                )  # fmt: skip
                continue
            yield {"from": path.split(".")}
        if total > LETTER_BYTES_MAX:
            self._found(
                variant.place_of("attach"), "YML005", "over-limit",
                f"its files are {total:,} bytes together, over the limit of {LETTER_BYTES_MAX:,}",
                "put files where people can download them, and send links",
            )  # fmt: skip

    def _pages(self, variant: Any) -> dict[str, dict[str, Any]]:
        """A file as body of what is shown in a page: no footer, no page around Markdown, and its style sheet as it stands."""
        bodies: dict[str, dict[str, Any]] = {}
        for language, kind, source, place in self._files(variant):
            try:
                self._names(source, place)
                html = to_html(source, kind, language if language != ANY_LANGUAGE else self._languages[0], page=False)
            except NotConvertible as error:
                self._found(place, "YML007", "invalid-value", str(error))
            except TemplateError as error:
                self._template_fault(error, place)
            else:
                bodies[language] = {"html": html, "text": to_text(html), "inline_css": False}
        return bodies

    def _sender(self, channel: str, variant: Any) -> dict[str, Any]:
        """Who speaks: the sender named, else the only one there is."""
        nobody = {"name": "", "address": "", "reply_to": None}
        if channel not in ("email", "sms", "whatsapp"):
            return nobody
        name = variant.from_ or (next(iter(self._senders)) if len(self._senders) == 1 else None)
        if name is None or name not in self._senders:
            what = (
                f"`from: {name}` is no sender of flowctl.yaml"
                if name
                else f"{channel}: who sends it? flowctl.yaml has several senders"
            )
            self._found(
                variant.place_of("from"),
                "REF001",
                "unknown-reference",
                what,
                f"say `from: …`, one of {_list(self._senders)}",
            )
            return nobody
        sender = self._senders[name]
        address = sender.email if channel == "email" else sender.sms
        if not address and channel == "email":
            self._found(
                variant.place_of("from"),
                "REF001",
                "unknown-reference",
                f"sender `{name}` has no e-mail address",
                "give it `email:`",
            )
        reply_to = getattr(variant, "reply_to", None) or sender.reply_to
        return {"name": sender.name, "address": address or "", "reply_to": reply_to, "postal": sender.address or ""}

    def _subject(self, variant: Any) -> ByLanguage:
        if not variant.subject:
            self._found(variant.place, "YML007", "invalid-value", "an e-mail without a subject", "add `subject:`")
            return {}
        for text in variant.subject.values():
            self._names(text, variant.place_of("subject"))
        return dict(variant.subject)

    def _bodies(self, variant: Any, sender: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        bodies: dict[str, dict[str, Any]] = {}
        for language, kind, source, place in self._sources(variant):
            spoken = language if language != ANY_LANGUAGE else self._languages[0]
            try:
                names = self._names(source, place)
                html = to_html(source, kind, spoken)
                if self._message.purpose == "marketing" and "unsubscribe_url" not in names:
                    html = _before_end(html, _footer(sender, spoken))
                text = to_text(html)
                preheader = _pick(variant.preheader or {}, language, self._languages)
                if preheader:
                    self._names(preheader, variant.place_of("preheader"))
                    html = _at_start(html, _PREHEADER.format(text=preheader))
            except NotConvertible as error:
                self._found(place, "YML007", "invalid-value", str(error))
            except TemplateError as error:
                self._template_fault(error, place)
            else:
                bodies[language] = {
                    "html": html,
                    "text": text,
                    "inline_css": kind != "mjml" and "<style" in html.lower(),
                }
        return bodies

    def _sources(self, variant: Any) -> Iterator[tuple[str, str, str, Place]]:
        """(language, kind, source, where it stands) of every body."""
        if variant.text:
            for language, text in variant.text.items():
                yield language, "markdown", text, variant.place_of("text")
        elif variant.file:
            yield from self._files(variant)
        else:
            self._found(
                variant.place,
                "YML007",
                "invalid-value",
                "an e-mail without a body",
                "add `text:` (Markdown) or `file:`",
            )

    def _files(self, variant: Any) -> Iterator[tuple[str, str, str, Place]]:
        place = variant.place_of("file")
        kind = _KINDS.get(posixpath.splitext(variant.file)[1].lower())
        if kind is None:
            self._found(place, "YML007", "invalid-value", f"`{variant.file}` is no .md, .html or .mjml file")
            return
        folder = posixpath.dirname(place.path)
        found = False
        for language in self._languages if "{lang}" in variant.file else [ANY_LANGUAGE]:
            path = posixpath.normpath(posixpath.join(folder, variant.file.replace("{lang}", language)))
            source = None if path.startswith("..") else self._read(path)
            if source is not None:
                found = True
                yield language, kind, source, Place(path=path)
        if not found:
            self._found(
                place, "REF001", "unknown-reference", f"no file `{variant.file}` beside {place.path or 'the message'}"
            )

    def _names(self, source: str, place: Place) -> set[str]:
        """The names a template uses; unknown ones are problems."""
        try:
            tree = sandbox(html=False).parse(source)
            used = meta.find_undeclared_variables(tree) - {"range", "namespace"}
            sandbox(html=False).compile(source)
        except TemplateError as error:
            self._template_fault(error, place)
            return set()
        for name in sorted(used - NAMES):
            near = difflib.get_close_matches(name, NAMES, n=1)
            self._found(
                place,
                "CNT003",
                "missing-variable",
                f"nothing provides `{name}`",
                f"did you mean `{near[0]}`?" if near else "",
            )
        for name in sorted(used & CALLS.keys()):
            called = calls(tree, name)
            if called is None:
                self._found(place, "YML007", "invalid-value", f"`{name}` must be written out, like {CALLS[name]}")
                continue
            for what, number in called.items():
                self._called[name][what] = max(self._called[name].get(what, 0), number)
        return used

    def _template_fault(self, error: TemplateError, place: Place) -> None:
        line = error.lineno if isinstance(error, TemplateSyntaxError) else 1
        if place.line == 1 and place.end_line == 1 and line > 1:  # a file of its own, which has lines
            place = Place(path=place.path, line=line, end_line=line)
        self._found(place, "YML007", "invalid-value", f"template: {error.message}")

    def _found(self, place: Place, code: str, slug: str, message: str, advice: str = "") -> None:
        said = f"message {self._message.name}: {message}"
        self._problems.append(Problem(code=code, slug=slug, message=said, place=place, help=advice))


def _feedback_sender(project: str) -> str:
    """A project's name in the 5 to 15 characters that Google takes for a sender; hashed into that where it does not fit."""
    if FEEDBACK_CHARS[0] <= len(project) <= FEEDBACK_CHARS[1] or not project:
        return project
    return f"{project[:8]}-{hashlib.sha256(project.encode()).hexdigest()[:6]}"


def attached_path(part: EmailVariant, file: str) -> str:
    """Where in the project a file to attach lies: beside the message."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(part.place_of("attach").path), file))


def calls(tree: nodes.Template, name: str) -> dict[str, int] | None:
    """What a template calls for by a name of CALLS, and the most of each; None where it is not written out in plain values."""
    found = [arguments for call in tree.find_all(nodes.Call) if (arguments := _arguments(call, name)) is not None]
    mentions = sum(node.name == name for node in tree.find_all(nodes.Name))
    if mentions != len(found) or not all(found):
        return None
    most: dict[str, int] = {}
    for what, number in (call for call in found if call):
        most[what] = max(most.get(what, 0), number)
    return most


def _arguments(call: nodes.Call, name: str) -> tuple[str, int] | tuple[()] | None:
    """What a call by a name asks for: a text and a number; () where it is no plain value; None where it is another call."""
    called = call.node
    if name == "events":
        if not (isinstance(called, nodes.Getattr) and isinstance(called.node, nodes.Name) and called.node.name == name):
            return None
        if called.attr != "last":
            return ()
    elif not (isinstance(called, nodes.Name) and called.name == name):
        return None
    values = [each.value if isinstance(each, nodes.Const) else None for each in call.args]
    if call.kwargs or call.dyn_args or call.dyn_kwargs or not values or not isinstance(values[0], str):
        return ()
    number = values[1] if len(values) > 1 else 1
    fits = len(values) == 1 or (name == "events" and len(values) == 2)  # noqa: PLR2004 - the name and how many
    if not fits or type(number) is not int or not 1 <= number <= EVENTS_MAX:
        return ()
    return values[0], number


def _pick(texts: Mapping[str, str], language: str, languages: Sequence[str]) -> str:
    key = pick(texts, language, languages)
    return texts[key] if key is not None else ""


def _footer(sender: Mapping[str, Any], language: str) -> str:
    """Who writes, and how to be left alone, for a marketing e-mail that says neither."""
    shown = " · ".join(
        markup.escape(part) for part in (sender["name"], sender.get("postal"), sender["address"]) if part
    )
    word = _UNSUBSCRIBE.get(language.partition("-")[0].lower(), _UNSUBSCRIBE["en"])
    return _FOOTER.format(sender=shown.replace("{", "&#123;"), word=word)


def _before_end(html: str, block: str) -> str:
    at = html.lower().rfind("</body>")
    return f"{html}\n{block}\n" if at < 0 else f"{html[:at]}{block}\n{html[at:]}"


def _at_start(html: str, block: str) -> str:
    at = html.lower().find("<body")
    end = html.find(">", at) + 1 if at >= 0 else 0
    return html[:end] + block + html[end:]


def _list(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names)) or "none declared"
