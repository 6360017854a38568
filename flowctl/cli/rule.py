"""`flowctl rule`: what a finding means."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flowctl.cli import render

EXAMPLES = """\
flowctl rule                      the table of all rules
flowctl rule PRS001               what it finds, why, what to do
flowctl rule too-many-steps       by its slug
"""


def command(
    name: Annotated[
        str, typer.Argument(metavar="[RULE]", help="A code or a slug; without it, all rules.", show_default=False)
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain a lint rule: what it does, why it is bad, an example, what to use instead, options, the source.

    Raises:
        UsageFailure: there is no such rule.
    """
    from flowctl.lint.rules import SLUGS, codes, page

    found = [code for code in SLUGS if code in codes([name], "flowctl rule")] if name else list(SLUGS)
    rules = [_as_data(code) for code in found]
    if len(rules) == 1 and name:
        if as_json:
            render.document("rule", {**rules[0], "page": page(found[0])})
        else:
            print(page(found[0]), end="")
    elif as_json:
        render.document("rules", {"rules": rules})
    else:
        render.table(
            ("code", "slug", "severity", "finds"),
            [(one["code"], one["slug"], one["severity"], one["finds"]) for one in rules],
        )


def _as_data(code: str) -> dict[str, Any]:
    from flowctl.lint.rules import SLUGS, load, title, worst

    rule = load(code)
    return {"code": code, "slug": SLUGS[code], "severity": rule.SEVERITY, "worst": worst(rule), "finds": title(code)}
