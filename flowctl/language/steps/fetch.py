"""`fetch:`: JSON from a service, for templates and conditions."""

from __future__ import annotations

from typing import ClassVar, Literal

from flowctl.language.model import Model, ServiceName, SnakeCase
from flowctl.language.steps.step import AnyStep


class Request(Model):
    """What to ask whom; `sample` serves lint, tests and previews."""

    service: ServiceName
    path: str
    save_as: SnakeCase
    sample: str | None = None
    on_error: Literal["continue", "exit"] = "exit"


class FetchStep(AnyStep):
    """Saves the answer under `data.NAME`."""

    verb: ClassVar[str] = "fetch"
    fetch: Request
