"""What templates ask for, where exactly, and whether they cope."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctl.lint.jinja import parse
from flowctl.lint.templates import read


def asked(text):
    """Each use as `name@offset`, with a `?` where the template copes."""
    return [f"{'.'.join(use.chain)}@{use.offset}{'?' if use.is_guarded else ''}" for use in read(text).uses]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no template", []),
        ("{{ contact.first_name }}", ["contact.first_name@3"]),
        ("{{contact.first_name|default('x')}}", ["contact.first_name@2?"]),
        ("{{ contact.a | d(contact.b) }}", ["contact.a@3?", "contact.b@17"]),
        ("{{ contact.a or contact.b }}", ["contact.a@3?", "contact.b@16"]),
        ("{{ contact.a if contact.a else contact.b }}", ["contact.a@3?", "contact.a@16?", "contact.b@31"]),
        (
            "{% if contact.a %}{{ contact.a }}{% endif %}{{ contact.a }}",
            ["contact.a@6?", "contact.a@21?", "contact.a@47"],
        ),
        ("{% if contact.a is defined and contact.a > 3 %}x{% endif %}", ["contact.a@6?", "contact.a@31?"]),
        ("{% for x in data.items %}{{ x.name }}{{ loop.index }}{% endfor %}", ["data.items@12?"]),
        ("{% set n = contact.a %}{{ n }}", ["contact.a@11"]),
        ('{{ contact["a"] }}', ["contact.a@3"]),
        ("{{ data.list[0].name }}", ["data.list@3"]),
        ("line\n\n{{ a }}\n  {{- b -}}\n{{ c }}", ["a@9", "b@20", "c@29"]),
        ("{# contact.x #}{% raw %}{{ contact.y }}{% endraw %}{{ contact.z }}", ["contact.z@54"]),
        ("{{ contact.name | upper | trim }}", ["contact.name@3"]),
        ("{{ survey_url('nps') }}", ["survey_url@3"]),
        ('{{ events.last("seen", 5) }}', ["events.last@3"]),
        ("{{ 'a' ~ contact.b }}", ["contact.b@9"]),
    ],
)
def test_names_stand_where_they_stand(text, expected):
    assert asked(text) == expected


def test_a_call_tells_its_literal():
    assert [use.argument for use in read('{{ survey_url("nps") }}{{ events.last("seen") }}{{ coupon(x) }}').uses] == [
        "nps",
        "seen",
        None,
        None,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{{ x",
        "{% if %}",
        "{% for x in y %}",
        "{{ x | }}",
        "{% nonsense %}",
        "a\nb {{ 'x }}",
        "{{ " + "(" * 5000 + " }}",
    ],
)
def test_what_is_no_template_is_told_and_where(text):
    template = read(text)
    assert template.fault
    assert 0 <= template.fault_offset <= len(text)


PIECES = st.sampled_from(
    [
        "{{ contact.a }}",
        "{{contact.b|default('x')}}",
        '{{ trigger.c | default("y") }}',
        "{{ data.d.e }}",
        "{{ unsubscribe_url }}",
        "text ",
        "\n",
        "é{",
        "}} ",
        "{{ preferences_url}}",
    ]
)


@given(st.lists(PIECES, max_size=8))
def test_reading_without_jinja_is_reading_with_it(pieces):
    text = "".join(pieces)
    assert read(text) == parse(text)


@given(st.text(alphabet="{}%#-| \n\"'abc.()[]01=~", max_size=40))
def test_no_text_breaks_it(text):
    assert read(text) is not None
