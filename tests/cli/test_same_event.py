"""One event told again and again, by `events add` and in files, within a file and across ticks: it happened once."""

from __future__ import annotations

import pytest

from flowctl.cli.main import main
from tests.shop import HOUR, NOW, Shop

ROW = "bought,k0,2027-01-15T09:00:00Z,order-1,150\n"
ADD = ("events", "add", "bought", "--contact", "k0", "--at", "2027-01-15T09:00:00Z", "--id", "order-1", "amount=150")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    shop = Shop(tmp_path / "shop", people=2)
    monkeypatch.setenv("FLOWCTL_NOW", str(NOW + HOUR))
    yield shop
    shop.store.close()


def run(shop, *arguments):
    return main(["-C", str(shop.root), *arguments])


def outcome(shop):
    """Events, enrollments and messages that left."""
    counted = "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM enrollments), (SELECT count(*) FROM outbox WHERE state = 3)"
    return shop.connection.execute(counted).fetchone()


@pytest.mark.parametrize("ticks_between", [False, True])
def test_three_times_the_same_id_is_one_event(shop, ticks_between):
    file = shop.root / "events.csv"
    file.write_text("event,contact,at,id,amount\n" + 3 * ROW, encoding="utf-8")
    for round_ in range(3):
        assert run(shop, "events", "import", "events.csv") == 0
        assert run(shop, *ADD) == 0
        if ticks_between:
            shop.ticks(NOW + HOUR + round_ * HOUR)
    shop.ticks(NOW + 8 * HOUR)
    events, entered, left = outcome(shop)
    assert (events, entered) == (1, 2)  # it starts both workflows
    assert left == 1  # the cap holds back the second
    assert shop.connection.execute("SELECT orders FROM contacts WHERE key = 'k0'").fetchone() == (1,)


def test_another_id_at_the_same_second_is_another_event(shop):
    file = shop.root / "events.csv"
    file.write_text("event,contact,at,id,amount\n" + ROW + ROW.replace("order-1", "order-2"), encoding="utf-8")
    assert run(shop, "events", "import", "events.csv") == 0
    assert outcome(shop)[0] == 2
