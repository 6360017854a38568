"""What templates make in place, in code of our own, against what jinja2 makes of the same."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.exceptions import UndefinedError
from jinja2.sandbox import SandboxedEnvironment

from flowctl.engine.budget import WORK_MAX, Runaway, budget
from flowctl.engine.sandbox import MissingName, Record, compiled, reason_of, render, sandbox

ENTRIES = [{"id": n, "name": name, "price": n * 1.5} for n, name in enumerate(("A & B", "<c>", "d'e", 'f"g', "Zoé"))]
DATA = {
    "entries": ENTRIES,
    "floats": [1e22, float("nan"), 49.0, 0.1 + 0.2, -0.0, -0.001, 2.675, 1e300, float("inf"), 1e-7],
    "ints": [0, -3, True, False, 10**40, 10**70],
    "texts": ["é" * 63, "é" * 64, "é" * 65, "&" * 12, "&" * 13, "<" * 63, "", "x" * 1_000],
    "nested": {"a": {"b": {"c": {"d": [{"e": "deep"}]}}}},
    "plain": [{"v": 1}, {"v": 2}],
    "dotted": [{"v": {"w": 1}, "x.y": 5, "0": 7}, {"v": {"w": 2}, "x.y": 6, "0": 8}],
    "rows": [[1, 2], [3, 4]],
    "mixed": [{"v": 1.5}, {"v": True}, {"v": 3}],
    "words": [{"v": "a"}, {"v": "b"}],
    "holes": [{"v": 1}, {}],
    "odd": [{"v": 1}, "text"],
    "none": [],
}
SOURCES = [
    "{% for f in data.floats %}{{ f }} {{ f|abs }};{% endfor %}",
    "{% for f in [2.675, -0.001, 49.5, 1e22] %}{{ f|round }} {{ f|round(2) }} {{ f|round(-1) }} {{ f|round(precision=1) }};{% endfor %}",
    "{% for f in data.floats[2:7] %}{{ f|round(1, 'floor') }} {{ f|round(1, 'ceil') }} {{ f|round(1, method='common') }};{% endfor %}",
    "{% for i in data.ints %}{{ i }} {{ i|round(2) }} {{ i|round(-1) }};{% endfor %}",
    "{{ 2.5|round(2, 'up') }}",
    "{{ 'x'|round(2) }}",
    "{{ 2.5|round('x') }}",
    "{{ 2.5|round(1.0) }}",
    "{{ data.nope|round }}",
    "{{ data.floats[1]|round }}{{ data.floats[8]|round(2) }}",
    "{% for t in data.texts %}{{ t }}|{% endfor %}{{ data.texts[5]|safe }}{{ data.texts[4] ~ '<' }}",
    "{% for t in data.texts %}{{ t|e }}|{{ t|string }}|{{ t|upper }}{% endfor %}{{ '<b>'|safe }}{{ ('<b>'|safe) ~ '<i>' }}",
    "{% autoescape false %}{% for t in data.texts %}{{ t }}{% endfor %}{{ 49.0 }}{% endautoescape %}",
    "{% autoescape true %}{% for t in data.texts %}{{ t }}{% endfor %}{{ 49.0 }}{% endautoescape %}{{ data.texts[4] }}",
    "{% autoescape data.none|length == 0 %}{% for t in data.texts %}{{ t }}{% endfor %}{{ data.floats[2] }}{% endautoescape %}",
    "{{ data.nested.a.b.c.d[0].e }}{{ data['nested'].a['b'].c.d.0.e }}{{ data.nested.a.b.c.d.0.e }}",
    "{% set x = data.nested %}{{ x.a.b.c.d[0].e }}{% set data = data.nested %}{{ data.a.b.c.d|length }}",
    "{% for e in data.entries %}{% set e = data.nested %}{{ e.a.b.c.d[0].e }}{% endfor %}",
    "{% with e = data.entries[0] %}{{ e.name }}{% endwith %}{% for e in data.entries if e.price > 2 %}{{ e.name }}{% endfor %}",
    "{% for e in data.entries %}{% for f in data.entries if f.id == e.id %}{{ f.name }}{{ data.nested.a.b.c.d[0].e }}{% endfor %}{% endfor %}",
    "{% macro m(e, n=2) %}{{ e.name }}{{ e.price|round(n) }}{{ e.price|round(1) }}{{ data.rows[0][0] }}{% endmacro %}{{ m(data.entries[1]) }}{{ m(data.entries[2], 1) }}",
    "{% macro m(e) %}[{{ caller(e) }}]{% endmacro %}{% call(e) m(data.entries[3]) %}{{ e.name }}{% endcall %}",
    "{% macro m(e) %}{{ e.name }}{% endmacro %}{{ m() }}",
    "{% for r in data.rows recursive %}{{ loop(r) if r is iterable else r }}{{ loop.depth }}{% endfor %}",
    "{% for e in data.entries %}{{ loop.index }}{{ loop.last }}{{ loop.cycle('a', 'b') }}{{ loop.nextitem.name if not loop.last }}{% endfor %}",
    "{% block a %}{{ data.entries[1].name }}{{ range(2)|list|length }}{% for e in data.entries %}{{ e.price|round(1) }}{% endfor %}{% endblock %}{{ self.a() }}",
    "{% for e in data.entries %}{% block b scoped %}{{ e.name }}{{ loop.index }}{% endblock %}{% endfor %}",
    "{% set y = 3 %}{% block c %}{{ y }}{{ data.rows[0][1] }}{% endblock %}",
    "{% if data.none %}{% set z = 1 %}{% else %}{% set z = 2.0 %}{% endif %}{{ z }}{% for i in range(2) %}{{ z }}{{ i }}{% endfor %}",
    "{% set range = 5 %}{{ range }}",
    "{% for i in range(3) %}{{ i }}{% endfor %}{{ nope|default('-') }}{{ data.nope|default(data.floats[2]) }}",
    "{{ data.plain|map(attribute='v')|sum }}{{ data.mixed|map(attribute='v')|sum }}{{ data.none|map(attribute='v')|sum }}",
    "{{ data.plain|map(attribute='v')|sum(start=10) }}{{ data.plain|sum('v', 5) }}{{ data.plain|sum(attribute='v') }}",
    "{{ data.dotted|map(attribute='v.w')|sum }}{{ data.rows|map(attribute='0')|sum }}{{ data.rows|map(attribute=1)|sum }}",
    "{{ data.dotted|map(attribute='x.y')|sum }}",
    "{{ data.dotted|map(attribute='0')|sum }}",
    "{{ data.holes|map(attribute='v', default=4)|sum }}{{ data.holes|map(attribute='v', default=4)|list|length }}",
    "{{ data.holes|map(attribute='v')|sum }}",
    "{{ data.holes|map(attribute='v')|list|length }}",
    "{{ data.odd|map(attribute='v')|sum }}",
    "{{ data.words|map(attribute='v')|sum }}",
    "{{ data.words|map(attribute='v')|join('<') }}{{ data.words|map(attribute='v')|map('upper')|join }}",
    "{{ data.plain|map(attribute='v', other=1)|sum }}",
    "{{ data.plain|map|sum }}",
    "{{ data.plain|map(attribute=data.words[0].v)|list|length }}",
    "{{ data.nested|map(attribute='b')|sum }}",
    "{{ nope|map(attribute='v')|sum }}",
    "{{ (data.plain|map(attribute='v'))|map(attribute='real')|list|length }}",
    "{{ 5|sum }}",
    "{{ data.entries|map(attribute='price')|sum|round(1) }}{{ (data.entries|first).price|round(1) }}{{ data.floats[2]|int }}",
    "{% filter upper %}{{ data.entries[4].name }}{{ data.floats[2] }}{% endfilter %}",
    "{{ data.entries|nosuch }}",
    "{% if false %}{{ data.entries|nosuch }}{% endif %}{{ data.entries|length }}",
    "{% if data.entries is nosuch %}x{% endif %}",
    "{{ 'x' if data.none }}",
    "{{ data.entries" + "[0]" * 3 + "}}",
]  # fmt: skip


def finalized(value):
    return int(value) if isinstance(value, float) and value.is_integer() else value


def jinja2_makes(source: str, variables: dict[str, Any], *, html: bool) -> Any:
    known = SandboxedEnvironment(autoescape=html, finalize=finalized)
    try:
        return known.from_string(source).render(variables)
    except Exception as error:  # noqa: BLE001 - whatever it is, ours fails the same way
        return type(error), str(error)


def ours_makes(source: str, variables: dict[str, Any], *, html: bool) -> Any:
    try:
        return render(compiled(source, html=html), variables)
    except Exception as error:  # noqa: BLE001 - the same
        return type(error), str(error)


def same(made: Any, expected: Any) -> bool:
    """The same text or the same failure; names that are missing have words of our own."""
    if isinstance(made, tuple) and made[0] is MissingName:
        return isinstance(expected, str) or issubclass(expected[0], UndefinedError | TypeError)
    if isinstance(made, tuple):
        made = made[0], made[1].replace("type Missing", "type Undefined")
    return bool(made == expected)


@pytest.mark.parametrize("points", [12_000, 10**30, -10_001])
def test_numbers_above_what_may_be_counted_can_be_rounded(points):
    variables = {"contact": Record("contact", {"points": points})}
    assert (
        render(compiled("{{ contact.points|round }} {{ contact.points|round(2) }}", html=False), variables)
        == f"{points} {points}"
    )


@pytest.mark.parametrize("html", [True, False])
@pytest.mark.parametrize("kind", [dict, lambda values: Record("data", values)], ids=["dict", "record"])
@pytest.mark.parametrize("source", SOURCES)
def test_what_is_done_in_place_is_what_jinja2_does(source, kind, html):
    variables = {"data": kind(DATA)}
    made, expected = ours_makes(source, variables, html=html), jinja2_makes(source, variables, html=html)
    assert same(made, expected), (made, expected)


VALUES = st.one_of(
    st.floats(), st.integers(-(10**30), 10**30), st.booleans(), st.text(max_size=80), st.text("&<>'\"x", max_size=70)
)


@settings(deadline=None, max_examples=150)
@given(value=VALUES, other=VALUES, precision=st.integers(-4, 12))
def test_any_value_is_shown_as_jinja2_shows_it(value, other, precision):
    variables = {"data": {"v": value, "list": [{"v": value}, {"v": other}], "n": precision}}
    for source in (
        "{{ data.v }}{% for e in data.list %}{{ e.v }}{% endfor %}",
        "{{ data.v|round(data.n) }}",
        "{{ data.v|round(2) }}{{ data.v|round }}",
        "{{ data.list|map(attribute='v')|sum }}",
        "{{ data.list|map(attribute='v')|sum|round(1) }}",
        "{{ data.list|map(attribute='v')|join(';') }}",
    ):
        for html in (True, False):
            made, expected = ours_makes(source, variables, html=html), jinja2_makes(source, variables, html=html)
            assert same(made, expected), (source, made, expected)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ data.words|map(attribute='v') }}", "template: the template prints a generator, which is no text"),
        ("{{ data.unknown.x }}", "missing variable data.unknown (unknown for this contact)"),
        ("{{ data.unknown|round(2) }}", "missing variable data.unknown (unknown for this contact)"),
        ("{{ data.gone }}", "missing variable data.gone"),
        ("{{ data.nested.gone }}", "missing variable gone"),
        ("{{ data.unknowns|map(attribute='v')|sum }}", "missing variable v (unknown for this contact)"),
        ("{{ data.holes|map(attribute='v')|sum }}", "missing variable v"),
        ("{% for e in data.holes %}{{ e.v }}{% endfor %}", "missing variable v"),
        ("{{ gone.a.b }}", "missing variable gone"),
        ("{% macro m(x) %}{{ x.y }}{% endmacro %}{{ m() }}", "parameter 'x' was not provided"),
        ("{{ 2.5|round(20000) }}", "the template asks for 20000 of something"),
        ("{{ data }}", "template: the template prints a Record, which is no text"),
        ("{{ data.nested }}", "template: the template prints a dict, which is no text"),
    ],
)
@pytest.mark.parametrize("html", [True, False])
def test_reasons_are_the_same_in_place(source, reason, html):
    data = Record("data", {**DATA, "unknown": None, "unknowns": [{"v": 1}, {"v": None}]})
    with pytest.raises(Exception) as caught:
        render(compiled(source, html=html), {"data": data})
    assert reason_of(caught.value) == reason


@pytest.mark.parametrize(
    ("source", "work"),
    [
        ("{{ data.texts[0] }}", 0),
        ("{{ data.texts[1] }}", 1),
        ("{{ data.long }}", 15),
        ("{% for e in data.entries %}{{ e.id }}{% endfor %}", 10),
        ("{% for e in data.entries %}{{ e.id }}{{ e.price|round(1) }}{% endfor %}", 15),
        ("{{ data.entries|map(attribute='price')|sum }}", 6),
        ("{{ data.plain|map(attribute='v')|list|length }}", 9),
        ("{% macro m() %}x{% endmacro %}{{ m() }}", 3),
        ("{% block a %}{% for e in data.entries %}{{ e.id }}{% endfor %}{% endblock %}", 10),
    ],
)
def test_what_is_done_in_place_is_paid_for(source, work):
    render(compiled(source, html=False), {"data": {**DATA, "long": "x" * 1_000}})
    assert WORK_MAX - budget.account.left == work


def test_html_pays_for_what_it_shows():
    for text, work in (("&" * 12, 0), ("&" * 13, 1), ("x" * 63, 0), ("x" * 64, 1)):
        render(compiled("{{ t }}", html=True), {"t": text})
        assert WORK_MAX - budget.account.left == work


@pytest.mark.parametrize("html", [True, False])
@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(10000) %}{% for e in data.many %}{{ e.v }}{% endfor %}{% endfor %}",
        "{% for a in range(10000) %}{{ data.many|map(attribute='v')|sum }}{% endfor %}",
        "{% for a in range(10000) %}{{ data.text }}{% endfor %}",
        "{% block a %}{% for a in range(10000) %}{{ data.text }}{% endfor %}{% endblock %}",
        "{% macro m(a) %}{{ data.text }}{{ m(a) }}{% endmacro %}{% for a in range(10000) %}{{ m(a) }}{% endfor %}",
    ],
)
def test_no_shortcut_runs_away(source, html):
    data = Record("data", {"many": [{"v": 1}] * 5_000, "text": "x" * 10_000})
    with pytest.raises((Runaway, RecursionError)):
        render(compiled(source, html=html), {"data": data})


def test_long_and_deep_templates_are_compiled_all_the_same():
    deep: dict[str, Any] = {"a": "end"}
    for _ in range(60):
        deep = {"a": deep}
    assert render(compiled("{{ d" + ".a" * 61 + " }}", html=True), {"d": deep}) == "end"
    assert render(compiled("{{ d.v }}{{ d.v|round(1) }}" * 2_000, html=True), {"d": {"v": 1.0}}) == "1" * 4_000


def test_variables_are_left_as_they_were_and_stand_before_what_every_template_has():
    variables: dict[str, Any] = {"range": 7}
    source = "{% set x = 1 %}{% macro m() %}{% endmacro %}{{ range }}{% block a %}{{ range }}{{ x }}{% endblock %}"
    assert render(compiled(source, html=True), variables) == "771"
    assert variables == {"range": 7}
    assert render(compiled(source, html=True).environment.from_string("{{ range(2)|list }}"), {}) == "0, 1"


def test_each_thread_has_an_account_of_its_own():
    template = compiled("{% for i in range(9000) %}{{ i }}{% endfor %}", html=False)
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(render(template, {}))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1
    assert len(made) == 4


def test_without_markupsafes_own_way_texts_are_escaped_the_same():
    from markupsafe import escape

    from flowctl.engine.sandbox import escaped

    for text in ("a", "&<>'\"", "", "é<"):
        assert escaped(text) == str(escape(text))
        assert type(escaped(text)) is str
    assert sandbox(html=True).shown_html("<") == "&lt;"
