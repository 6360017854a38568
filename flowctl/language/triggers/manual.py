"""`{manual: true}`: only `flowctl enroll` and `start` put people in."""

from __future__ import annotations

from typing import ClassVar, Literal

from flowctl.language.triggers.trigger import AnyTrigger


class ManualTrigger(AnyTrigger):
    """Nothing starts it by itself."""

    kind: ClassVar[str] = "manual"
    manual: Literal[True]
