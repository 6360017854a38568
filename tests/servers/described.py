"""Channel settings as a release holds them: the provider's description beside its name."""

from __future__ import annotations

from flowctl.language.provider import Provider
from flowctl.language.reading import validate
from flowctl.language.source import parse_text
from flowctl.project.providers import packaged

KEYED = """
provider: keyed
channels: [sms, whatsapp, push, web_push, in_app, on_site]
values: [token]
request:
  url: https://api.keyed.example/v1/messages
  headers: {Authorization: "Bearer {token}"}
  json: {to: "{recipient}", from: "{sender}", text: "{text}", title: "{title}", link: "{url}", template: "{template}", parameters: "{parameters}",
         channel: "{channel}", reference: "ref-{key}-{{x}}"}
idempotency_header: Idempotency-Key
answers:
  - {status: 202, known: [id], means: sent}
  - {status: 410, means: dead}
  - {status: 503, means: down}
id: id
reason: error
"""


def provider(text: str) -> Provider:
    root, problems = parse_text("provider.yaml", text)
    assert not problems, problems
    made, faults = validate(Provider, root)
    assert made is not None, [fault.message for fault in faults]
    return made


def described(settings: dict, text: str = KEYED) -> dict:
    """Those of `adapter: http` with the description of their provider, by name or else by `text`."""
    if settings["adapter"] != "http":
        return settings
    made = packaged(settings["provider"]) if "provider" in settings else provider(text)
    return {**settings, "description": made.model_dump(mode="json", exclude_none=True, by_alias=True)}
