"""Letters for tests of channels."""

from __future__ import annotations

from flowctl.channels.channel import Letter


def a_letter(
    name: str = "ana", *, key: str | None = None, text: str = "Bonjour\r\n.\r\n..two\r\nfin\r\n", **more
) -> Letter:
    """A small e-mail with lines of dots in it, the same each time."""
    key = key or f"key-{name}"
    head = f"From: shop@shop.example\r\nTo: {name}@example.com\r\nSubject: Hello\r\nMessage-ID: <{key}@shop.example>\r\n\r\n"
    said = {
        "key": key,
        "message_id": f"<{key}@shop.example>",
        "channel": "email",
        "sender": "shop@shop.example",
        "recipient": f"{name}@example.com",
        "payload": (head + text).encode(),
    }
    return Letter(**(said | more))
