from __future__ import annotations

from pathlib import Path

import pytest

from flowctl.channels.registry import make_channel
from flowctl.failure import Failure
from flowctl.language.durations import Duration
from flowctl.language.settings import ChannelSettings


def test_the_settings_of_the_language_are_all_read():
    settings = ChannelSettings(
        adapter="smtp", host="mail.example", port="2525", security="starttls", username="me", password="secret", connections=4,
        rate="600/min", timeout=Duration(ms=5_000), dkim={"domain": "mail.example"}, spf=True,
    )  # fmt: skip
    channel = make_channel("email", settings.model_dump(by_alias=True))
    shown = repr(channel)
    assert channel.connections == 4
    for part in ("'mail.example'", "port=2525", "'starttls'", "rate_per_s=10.0", "timeout_s=5.0"):
        assert part in shown
    assert "secret" not in shown


@pytest.mark.parametrize(("security", "port"), [("none", 25), ("starttls", 587), ("tls", 465)])
def test_the_port_follows_from_the_security(security, port):
    assert f"port={port}" in repr(make_channel("email", {"adapter": "smtp", "security": security}))


@pytest.mark.parametrize(
    ("settings", "message", "advice"),
    [
        ({"adapter": "smpt"}, "unknown adapter 'smpt'", "did you mean 'smtp'?"),
        ({}, "no adapter", "maildir"),
        ({"adapter": "smtp", "hots": "x"}, "adapter smtp has no setting 'hots'", "did you mean 'host'?"),
        ({"adapter": "smtp", "rate": "fast"}, "rate: 'fast' is no rate; write it like 50/s", ""),
        ({"adapter": "smtp", "rate": "0/s"}, "is no rate", ""),
        ({"adapter": "smtp", "port": 70_000}, "port: 70000 is no number from 1 to 65535", ""),
        ({"adapter": "smtp", "connections": 0}, "connections", ""),
        ({"adapter": "smtp", "security": "ssl"}, "'ssl' is none of none, starttls, tls", ""),
        ({"adapter": "smtp", "timeout": "soon"}, "soon", ""),
        ({"adapter": "smtp", "timeout": -1}, "no time to wait", ""),
        ({"adapter": "maildir"}, "needs a `path`", ""),
    ],
)
def test_nonsense_is_refused_with_advice(settings, message, advice):
    with pytest.raises(Failure) as caught:
        make_channel("email", settings)
    assert message in caught.value.message
    assert advice in caught.value.help


def test_a_secret_is_in_no_error():
    with pytest.raises(Failure) as caught:
        make_channel("email", {"adapter": "smtp", "password": "secret", "rate": "nonsense"})
    assert "secret" not in f"{caught.value.message} {caught.value.help} {caught.value!r}"


def test_building_a_channel_touches_nothing(tmp_path):
    make_channel("email", {"adapter": "maildir", "path": tmp_path / "mail"}).open().close()
    assert list(Path(tmp_path).iterdir()) == []
