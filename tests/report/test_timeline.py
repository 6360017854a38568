"""The timeline of a contact: everything in order, with the values seen and where each step is written."""

import pytest

from flowctl.failure import Failure
from flowctl.report.timeline import timeline
from tests.shop import DAY, HOUR, NOW


def kinds(story):
    return [entry.kind for entry in story.entries]


def test_a_story_is_told_in_order(shop):
    story = timeline(shop.store, "k0")
    assert (story.key, story.email, story.zone) == ("k0", "k0@example.com", "Europe/Paris")
    assert [entry.at for entry in story.entries] == sorted(entry.at for entry in story.entries)
    of_thanks = [entry.kind for entry in timeline(shop.store, "k0", workflow="thanks").entries]
    assert of_thanks == ["entered", "added", "send", "sent", "goal"]
    assert kinds(story)[:3] == ["created", "consented", "event"]


def test_each_step_names_file_line_and_commit(shop):
    story = timeline(shop.store, "k0@example.com", workflow="thanks")
    (sent,) = [entry for entry in story.entries if entry.kind == "sent"]
    assert sent.subject == "thank-you"
    assert sent.detail == {"by": "email", "to": "k0@example.com"}
    text = (shop.root / "thanks.yaml").read_text(encoding="utf-8").splitlines()
    path, _, rest = sent.step.where.partition(":")
    line, _, commit = rest.partition("@")
    assert (path, commit) == ("thanks.yaml", "abc1234")
    assert "send: thank-you" in "\n".join(text[int(line) - 1 : int(line) + 1])


def test_values_seen_are_kept(shop):
    entries = timeline(shop.store, "k1").entries
    (added,) = [entry for entry in entries if entry.kind == "added"]
    assert (added.detail["field"], added.detail["new"]) == ("orders", 1)
    entered = [entry for entry in entries if entry.kind == "entered"]
    assert {entry.detail["trigger"]["amount"] for entry in entered} == {120}


def test_a_held_message_says_why_and_until_when(shop):
    story = timeline(shop.store, "k1")
    held = [entry for entry in story.entries if entry.kind == "held"]
    assert held
    assert all(entry.detail["reason"] == "cap" for entry in held)
    assert all(entry.detail["until"] > entry.at for entry in held)
    assert all(entry.subject for entry in held)


def test_where_somebody_stands_now(shop):
    shop.happens("bought", shop.people[4], shop.now, '{"amount": 5}')
    shop.ticks(shop.now + HOUR // 2)
    (pending,) = timeline(shop.store, "k4").pending
    assert pending.step.name == "pause"
    assert pending.due_at - pending.entered_at == HOUR
    assert timeline(shop.store, "k4", workflow="big-spender").pending == ()


def test_answers_unsubscribing_and_suppression_show(shop):
    from flowctl.store import statuses
    from flowctl.store.database import transaction

    (key,) = shop.connection.execute(
        "SELECT key FROM outbox WHERE contact_id = ? AND state = 3 LIMIT 1", (shop.people[2],)
    ).fetchone()
    sending = statuses.by_key(shop.connection, key)
    with transaction(shop.connection):
        reported = [
            statuses.Status(sending=sending, status=status, at=NOW + 5 * DAY)
            for status in (statuses.OPENED, statuses.UNSUBSCRIBED)
        ]
        statuses.record(shop.connection, reported, now=NOW + 5 * DAY)
    found = kinds(timeline(shop.store, "k2"))
    assert {"opened", "unsubscribed", "suppressed", "withdrew"} <= set(found)


def test_nobody_is_called_so(shop):
    with pytest.raises(Failure, match="no contact 'nobody'"):
        timeline(shop.store, "nobody")
