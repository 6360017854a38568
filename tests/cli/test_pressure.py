"""`flowctl pressure`, and `lint --store`: what may be sent, what was, and what an older version adds."""

import json

import pytest

from flowctl.cli.main import main

SETTINGS = """
project: shop
timezone: Europe/Paris
contacts: {fields: {vip: boolean}}
events: {signup: {}, cart: {}}
senders: {shop: {name: Shop, email: shop@example.com}}
channels: {email: {adapter: maildir, path: out}}
public_url: https://news.example.com
pressure: {email: [1 per 16h, 2 per 7d]}
"""
MESSAGES = """
messages:
  one: {email: {subject: One, text: One}}
  two: {email: {subject: Two, text: Two}}
  three: {email: {subject: Three, text: Three}}
"""
WELCOME = """
workflow: welcome
triggers: [{event: signup}]
reentry: {after: 1h}
steps:
  - send: one
  - wait: 3d
  - send: two
  - wait: 3d
"""
CARTS = """
workflow: carts
triggers: [{event: cart}]
reentry: {while_active: restart}
steps:
  - send: three
  - wait: 20d
"""


@pytest.fixture
def shop(project):
    for name, text in {"flowctl": SETTINGS, "messages": MESSAGES, "welcome": WELCOME, "carts": CARTS}.items():
        (project / f"{name}.yaml").write_text(text)
    return project


@pytest.fixture
def lived(shop, flowctl, monkeypatch):
    """Applied and ticked: ana is in both workflows."""
    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-02T10:00:00Z")
    (shop / "people.csv").write_text("key,email,vip\nana,ana@example.com,true\nbea,bea@example.com,false\n")
    (shop / "facts.csv").write_text(
        "contact,event,at\nana,signup,2026-03-02T10:00:00Z\nana,cart,2026-03-02T10:00:00Z\nbea,signup,2026-03-02T10:00:00Z\n"
    )
    for words in (
        ["apply", "--yes", "--allow-dirty"],
        ["contacts", "import", str(shop / "people.csv"), "--consent", "email", "--source", "form"],
        ["events", "import", str(shop / "facts.csv")],
    ):
        status, out, err = flowctl(*words)
        assert status == 0, (words, out, err)
    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-02T10:05:00Z")
    status, out, err = flowctl("tick")
    assert status == 0, (out, err)
    return shop


def test_a_table_of_curves(shop, flowctl):
    status, out, _ = flowctl("pressure")
    rows = [line.split("\t") for line in out.splitlines()]
    assert status == 0
    assert rows[0] == ["workflow", "channel", "in 1d", "in 7d", "in 30d", "over", "curve"]
    assert [row[:6] for row in rows[1:]] == [
        ["carts", "email", "no bound", "no bound", "no bound", ""],
        ["welcome", "email", "1", "3", "11", "! 7d (2)"],
        ["all together", "email", "1", "3", "11", "! 7d (2)"],
    ]


def test_a_plot_grows_to_the_right_and_shows_the_caps(shop, flowctl):
    _, out, _ = flowctl("pressure", "welcome", "--plot")
    plot = out.split("\n\n", 1)[1].splitlines()
    assert plot[0] == "welcome, email: the most marketing messages in a window"
    bars = [line.partition("│")[2] for line in plot[1:9]]
    assert [len(bar.rstrip()) for bar in bars] == sorted(len(bar.rstrip()) for bar in bars)
    assert sum(bar.count("+") for bar in bars) == 2
    assert "1d" in plot[10]
    assert "30d" in plot[10]
    assert plot[11].strip() == "+ cap"


def test_json_tells_the_curve_and_what_is_over(shop, flowctl):
    _, out, _ = flowctl("pressure", "welcome", "--json")
    (curve,) = json.loads(out)["curves"]
    assert curve["most"] == {"1d": 1, "7d": 3, "30d": 11}
    assert curve["over"] == [{"count": 2, "window_ms": 7 * 86_400_000, "is_cap": True, "most": 3}]
    assert [point["most"] for point in curve["curve"]] == sorted(point["most"] for point in curve["curve"])
    assert curve["curve"][0] == {"hours": 12, "most": 1}
    assert len(curve["curve"]) == 60


def test_an_unknown_workflow_is_a_usage_error(shop, flowctl):
    status, _, err = flowctl("pressure", "welcom")
    assert status == 2
    assert "did you mean `welcome`?" in err


def test_what_was_really_sent(lived, flowctl):
    status, out, _ = flowctl("pressure", "--store", "--since", "30d", "--json")
    assert status == 0
    (everybody,) = json.loads(out)["sent"]
    assert (everybody["segment"], everybody["contacts"], everybody["sent"]) == ("everybody", 2, 2)
    assert everybody["most"] == {"1d": 1, "7d": 1, "30d": 1}  # ana's second is held by the cap
    status, out, _ = flowctl("pressure", "--store")
    assert status == 0
    assert out.split("\n\n")[1].splitlines()[0].startswith("segment\tcontacts\tsent")


def test_lint_counts_who_is_really_in_several(lived, flowctl):
    (lived / "carts.yaml").write_text(CARTS.replace("{while_active: restart}", "{after: 2d}"))
    _, out, _ = flowctl("lint", "--select", "PRS002")
    assert "contact is inside" not in out
    assert "PRS002" in out
    _, out, _ = flowctl("lint", "--select", "PRS002", "--store")
    assert "now 1 contact is inside two of them or more" in out


def test_lint_counts_a_version_that_drains(lived, flowctl):
    longer = WELCOME + "  - wait: 30d\n"
    (lived / "welcome.yaml").write_text(longer.replace("wait: 3d", "wait: 9d"))
    _, out, _ = flowctl("lint", "--select", "PRS009")
    assert "PRS009" not in out
    status, out, err = flowctl("lint", "--select", "PRS009", "--store", "--strict")
    assert status == 1, (out, err)
    assert "version 1 of `welcome` still holds 2 contacts" in out
    assert "3 marketing e-mails in 7d" in out


def test_a_state_that_is_not_there_is_a_usage_error(shop):
    assert main(["-C", str(shop), "lint", "--state", str(shop / "none.json")]) == 2
