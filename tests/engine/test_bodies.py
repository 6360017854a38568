from __future__ import annotations

import sys

import pytest

from flowctl.engine.bodies import NotConvertible, in_references, may_refer, text_of, to_html, to_text
from flowctl.engine.sandbox import Record, compiled, render

MARKDOWN = """# Bonjour {{ contact.first_name|default("*cher* client") }}

Votre [panier](https://shop.example/{{ trigger.cart_id }}?a=1&b=2) vous **attend**.

{% for item in data.items %}
- {{ item }}
{% endfor %}

{% if contact.vip %}Bravo {{ contact.first_name }}{% else %}À bientôt{% endif %} !
"""
MJML = "<mjml><mj-body><mj-section><mj-column>{}</mj-column></mj-section></mj-body></mjml>"


def filled(template, *, html=True, **contact):
    variables = {
        "contact": Record("contact", {"first_name": "Zoé", "vip": True} | contact),
        "trigger": Record("trigger", {"cart_id": "c1"}),
        "data": Record("data", {"items": ["un", "deux"]}),
    }
    return render(compiled(template, html=html), variables)


def test_markdown_becomes_html_and_text():
    html = to_html(MARKDOWN, "markdown", "fr")
    page = filled(html)
    assert '<html lang="fr">' in page
    assert "<h1>Bonjour Zoé</h1>" in page
    assert '<a href="https://shop.example/c1?a=1&amp;b=2">panier</a>' in page
    assert [line for line in page.splitlines() if "li>" in line or "ul>" in line] == [
        "<ul>",
        "<li>un</li>",
        "<li>deux</li>",
        "</ul>",
    ]
    assert filled(to_text(html), html=False).splitlines() == [
        "Bonjour Zoé",
        "",
        "Votre [panier](https://shop.example/c1?a=1&b=2) vous attend.",
        "",
        "  * un",
        "  * deux",
        "",
        "Bravo Zoé !",
    ]


@pytest.mark.parametrize(
    "value",
    [
        "*gras*",
        "<b>x</b>",
        "[a](http://evil.example)",
        "# title",
        "{{ 7*7 }}",
        "{% raw %}",
        "`code`",
        "&amp;",
        "zqjinjav0000qz",
    ],
)
def test_data_is_never_markdown_markup_or_template(value):
    html = to_html("Bonjour {{ contact.first_name }} !", "markdown", "fr")
    shown = filled(html, first_name=value)
    escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"<p>Bonjour {escaped} !</p>" in shown
    assert filled(to_text(html), html=False, first_name=value).strip() == f"Bonjour {value} !"


def test_html_written_in_markdown_stays():
    assert "<p>a<br>b</p>" in to_html("a<br>b", "markdown", "fr")


def test_strings_in_tags_that_look_like_their_end():
    html = to_html("a {{ contact.nope|default('}} *x* {%') }} b", "markdown", "fr")
    assert "<p>a }} *x* {% b</p>" in filled(html)


def test_mjml_is_converted_with_its_tags_kept():
    html = to_html(MJML.format("<mj-text>Bonjour {{ contact.first_name }}</mj-text>"), "mjml", "fr")
    assert 'lang="fr"' in html
    assert ">Bonjour {{ contact.first_name }}<" in html
    assert to_text(html) == "Bonjour {{ contact.first_name }}\n"


def test_a_loop_between_rows_makes_its_text_from_what_was_rendered():
    html = to_html(MJML.format("{% for i in data.items %}<mj-text>{{ i }}</mj-text>{% endfor %}"), "mjml", "fr")
    assert to_text(html) is None
    assert text_of(filled(html)).split() == ["un", "deux"]


def test_a_condition_in_an_attribute_makes_its_text_from_what_was_rendered():
    html = '<p style="{% if contact.vip %}color:red{% else %}color:blue{% endif %}">a</p>'
    assert to_text(html) is None


def test_an_image_takes_its_variable_with_it():
    assert to_text('<p>a <img src="https://x.example/{{ contact.key }}.png"> b</p>').split() == ["a", "b"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (MJML.format("\n<mj-txt>a</mj-txt>"), "line 2: unknown MJML tag <mj-txt>; did you mean <mj-text>?"),
        (MJML.format("<mj-include path='/etc/passwd' />"), "line 1: mj-include is not supported"),
        (MJML.format("<mj-text><p>a</mj-text>"), "MJML cannot be read"),
        ("<p>a</p>", "no <mjml>"),
    ],
)
def test_mjml_with_faults(source, message):
    with pytest.raises(NotConvertible) as caught:
        to_html(source, "mjml", "fr")
    assert message in str(caught.value)


def test_without_the_mjml_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mjml", None)
    with pytest.raises(NotConvertible, match=r"pip install 'flowctl\[mjml\]'"):
        to_html(MJML.format("<mj-text>a</mj-text>"), "mjml", "fr")


@pytest.mark.parametrize(
    ("source", "lists"),
    [
        (
            "{% for i in data.items %}\n- {{ i }}{% if i == 'un' %} (!){% endif %}\n{% endfor %}",
            "<ul><li>un(!)</li><li>deux</li></ul>",
        ),
        ("{% for i in data.items %}\n1. {{ i }}\n{% endfor %}", "<ol><li>un</li><li>deux</li></ol>"),
        ("{% if contact.vip %}\n- un\n- deux\n{% endif %}", "<ul><li>un</li><li>deux</li></ul>"),
        ("{% if not contact.vip %}\n- un\n- deux\n{% endif %}", ""),
        (
            "{% for i in data.items %}\n- {{ i }}\n\n{% if i == 'un' %}\n- (!)\n{% endif %}\n{% endfor %}",
            "<ul><li>un</li></ul><ul><li>(!)</li></ul><ul><li>deux</li></ul>",
        ),
        (
            "{% for i in data.items %}{% if i == 'un' %}\n- {{ i }}\n{% endif %}{% endfor %}",
            "<ul><li>un</li></ul>",
        ),
    ],
)
def test_a_loop_of_items_is_one_list_and_no_other_tags_are_moved(source, lists):
    page = filled(to_html(source, "markdown", "fr"))
    body = page.partition('#222222">')[2].partition("</div>")[0]
    assert "".join(body.split()) == lists


@pytest.mark.parametrize(
    "tag", ["{{- contact.name }}", "{%- if contact.name %}b{% endif %}", "{#- said -#}", "{%- raw %}b{% endraw %}"]
)
def test_a_brace_in_front_of_a_tag_that_takes_blanks_stays_outside_of_it(tag):
    source = f"<p>é {{\n  {tag}</p>"
    assert filled(in_references(source), name="b") == filled(source, name="b").replace("é", "&#233;")


def test_a_template_in_references_keeps_its_tags_and_styles():
    html = "<style>a::after { content: 'é' }</style><p title='é'>{{ contact.first_name|default('é') }} é {% if x == 'é' %}€{% endif %}</p>"
    assert in_references(html) == (
        "<style>a::after { content: 'é' }</style><p title='&#233;'>{{ contact.first_name|default('é') }} &#233; "
        "{% if x == 'é' %}&#8364;{% endif %}</p>"
    )


@pytest.mark.parametrize(
    ("html", "may"),
    [
        ("<p>Vous êtes attendue chez nous</p>", True),
        ("<style>a { color: red }</style><p>Été</p>", True),
        ("<STYLE type='text/css'>a::after { content: 'é' }</STYLE>", False),
        ("<style>a { color: {{ contact.color }} }</style>", False),
        ("<style>{% if contact.dark %}a { color: red }{% endif %}</style>", False),
        ("<!--[if mso]><style>a { content: 'é' }</style><![endif]-->", False),
        ("<style>a { content: 'é' }", False),
        ("<style>/* </script> */ a { content: 'é' }</style>", False),
        ("<script>a = '</style>é'</script>", False),
        ("<style>a { color: red }</style><p>é</p><style>b { color: red }</style>", True),
        ("<p>C\x85est un été</p>", False),
        ("{{ contact.html|safe }}", False),
        ("{% autoescape false %}{{ contact.html }}{% endautoescape %}", False),
        ("{% set said %}Très cher{% endset %}{{ said|truncate(6) }}", False),
        ("{% filter upper %}é{% endfilter %}", False),
        ("{% macro said() %}é{% endmacro %}{{ said()|length }}", False),
        ("{% for one in data.tree recursive %}é{{ loop(one.inside)|length }}{% endfor %}", False),
        ("{% set said = 'é' %}{% for one in data.list %}é{{ said|upper }}{% endfor %}", True),
        ("<p>Здравствуйте</p>", False),
    ],
)
def test_references_stand_only_where_they_mean_what_they_stand_for_and_are_no_longer_than_base64(html, may):
    assert may_refer(html) is may
