import json

import pytest


@pytest.fixture
def news(applied):
    connection = applied.connection
    connection.execute("INSERT INTO workflow_versions VALUES (1, 'news', 1, 1, 'd', 'news.yaml', '{}')")
    connection.execute(
        "INSERT INTO workflow_states (workflow, version_id, state, first_at) VALUES ('news', 1, 'live', 1)"
    )
    return applied


def state(flowctl):
    return json.loads(flowctl("workflows", "list", "--json")[1])["workflows"][0]["state"]


def test_orders_by_hand(news, flowctl):
    assert flowctl("workflows", "pause", "news") == (0, "news is paused by hand\n", "")
    assert state(flowctl) == "paused by hand"
    assert flowctl("workflows", "resume", "news") == (0, "news is live, as applied\n", "")
    assert flowctl("workflows", "drain", "news")[0] == 0
    assert state(flowctl) == "draining by hand"
    assert flowctl("workflows", "stop", "news", "--yes") == (0, "news is stopped by hand; 0 contacts left it\n", "")
    assert state(flowctl) == "stopped by hand"


def test_stopping_asks_and_nobody_answers(news, flowctl):
    status, _, told = flowctl("workflows", "stop", "news")
    assert status == 2
    assert "--yes" in told
    assert state(flowctl) == "live"


def test_a_name_that_is_none(news, flowctl):
    status, _, told = flowctl("workflows", "pause", "nws")
    assert status == 2
    assert "did you mean 'news'?" in told
