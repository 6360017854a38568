"""`flowctl providers`: who `adapter: http` can send through, and the description of each."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.failure import UsageFailure

EXAMPLES = """\
flowctl providers list
flowctl providers show vonage > providers/acme.yaml       a description to start from
"""
_HELP = "List the HTTP providers that channels can send through; show how one is spoken to."
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_HELP)


@app.callback()
def _group() -> None:
    """List the HTTP providers that channels can send through; show how one is spoken to."""


@app.command("list")
def list_(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False
) -> int:
    """List the project's own providers and those that come with flowctl, with the values that a channel must give them."""
    from flowctl.project.providers import packaged, packaged_names

    own = _own(ctx)
    found = [(each, each.place.path) for each in own.values()]
    found += [(packaged(name), "comes with flowctl") for name in packaged_names() if name not in own]
    if as_json:
        listed = [
            {
                "provider": each.name,
                "channels": list(each.channels),
                "values": list(each.values),
                "optional": list(each.optional),
                "where": where,
            }
            for each, where in found
        ]
        render.document("providers", {"providers": listed})
        return 0
    rows = [
        (each.name, ", ".join(each.channels), ", ".join(each.values), ", ".join(each.optional), where)
        for each, where in found
    ]
    render.table(["provider", "channels", "values", "optional", "where"], rows)
    return 0


@app.command("show")
def show_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="PROVIDER", help="Its name.", show_default=False)],
) -> int:
    """Write a provider's description: the file as it is, to read or to change under another name."""
    from flowctl.project.providers import packaged_names, packaged_text

    own = _own(ctx)
    if name in own:
        print((invocation(ctx).root() / own[name].place.path).read_text(encoding="utf-8"), end="")
        return 0
    if name not in packaged_names():
        message = f"there is no provider {name!r}"
        raise UsageFailure(message, help=f"there are {', '.join(sorted({*own, *packaged_names()}))}")
    print(packaged_text(name), end="")
    return 0


def _own(ctx: typer.Context) -> dict[str, Any]:
    """The providers that the project describes itself; none outside a project."""
    try:
        return dict(invocation(ctx).project().providers)
    except UsageFailure:
        return {}
