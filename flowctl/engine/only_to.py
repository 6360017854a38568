"""Which addresses an environment lets anything go to: a staging store must never write to people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowctl.project.project import Project


def patterns(project: Project) -> list[str] | None:
    """What `only_to` allows, in lower case, phone numbers without what people write between the digits; None: everybody."""
    said = project.chosen.only_to if project.chosen else None
    if said is None:
        return None
    return [re.sub(r"[\s().-]", "", one) if one.startswith("+") else one.strip().lower() for one in said]


def outside(column: str) -> str:
    """SQL that is true of an address that none of `:patterns` (a JSON list) allows."""
    return f"NOT EXISTS (SELECT 1 FROM json_each(:patterns) p WHERE lower({column}) GLOB p.value)"
