import shutil

import pytest

from tests.shop import DAY, HOUR, NOW, Shop


@pytest.fixture(scope="session")
def ten_days(tmp_path_factory):
    """Four people bought: one browses in time, one spends much; ten days pass."""
    folder = tmp_path_factory.mktemp("ten-days") / "shop"
    shop = Shop(folder, people=6)
    a, b, c, d, *_ = shop.people
    for person, amount in ((a, 20), (b, 120), (c, 30), (d, 40)):
        shop.happens("bought", person, NOW + HOUR, f'{{"amount": {amount}}}')
    shop.happens("browsed", a, NOW + 5 * HOUR)
    shop.ticks(NOW + 6 * HOUR)
    shop.ticks(NOW + 10 * DAY, step=DAY // 2)
    texts = [letter.recipient for letter in shop.channel.transmitted]
    shop.store.close()
    # Copies go on from here: where the store lies no more, none of them runs beside it.
    return folder.rename(folder.with_name("lived")), texts


@pytest.fixture
def shop(ten_days, tmp_path):
    """A copy of those ten days, to go on from."""
    folder, recipients = ten_days
    shutil.copytree(folder, tmp_path / "shop")
    shop = Shop(tmp_path / "shop")
    shop.recipients = recipients
    yield shop
    shop.store.close()
