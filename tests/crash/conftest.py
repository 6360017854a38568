"""What the crash tests share."""

from __future__ import annotations

from tests.servers.running import smtp_server  # noqa: F401 - a fixture
