"""`flowctl coupons`: codes to give away, and how many are left."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flowctl.cli import render
from flowctl.cli.importing import example
from flowctl.cli.invocation import invocation
from flowctl.cli.store import opened
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = """\
flowctl coupons import WELCOME10 codes.csv
flowctl coupons list
"""
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Import coupon codes, and see how many are left.")


@app.callback()
def _group() -> None:
    """Import coupon codes, and see how many are left."""


@app.command("import", epilog=example("flowctl coupons import WELCOME10 codes.csv"))
def import_(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help='As templates say it: coupon("NAME").', show_default=False)
    ],
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A code a line, or CSV with a column `code`; - is stdin.", show_default=False
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Add codes to a pool; those it has already are passed over.

    Each contact who gets a message with coupon("NAME"), or comes to a step whose value calls it, gets one code of the pool, and keeps
    it. Where none is left the message or the step fails for that contact and says so.
    """
    from flowctl.store import coupons

    said = invocation(ctx)
    codes = _codes(said.directory / file if file != "-" else None)
    with opened(said) as store:
        new = coupons.add(store.connection, name, codes)
        pool = next((each for each in coupons.pools(store.connection) if each.name == name), None)
    left = pool.left if pool else 0
    if as_json:
        render.document("coupons-import", {"name": name, "new": new, "known": len(codes) - new, "left": left})
    else:
        known = f", {len(codes) - new} known already" if new < len(codes) else ""
        print(f"{render.plural(new, 'code')} added to {name}{known}; {left} left to give")
    return 0


@app.command("list", epilog=example("flowctl coupons list"))
def list_(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False
) -> int:
    """List the pools: how many codes were imported, given and are left."""
    from flowctl.store import coupons

    with opened(invocation(ctx)) as store:
        found = coupons.pools(store.connection)
    if as_json:
        render.document("coupons", {"coupons": [{**asdict(each), "left": each.left} for each in found]})
        return 0
    rows = [(each.name, each.codes, each.given, each.left) for each in found]
    render.table(["coupon", "codes", "given", "left"], rows, right=["codes", "given", "left"])
    return 0


def _codes(path: Path | None) -> list[str]:
    """The codes of a file, each once, in its order; None is stdin."""
    import csv
    import sys

    try:
        text = sys.stdin.read() if path is None else path.read_text(encoding="utf-8-sig")
        rows = [
            [cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"{path or 'stdin'} cannot be read: {error}"
        raise UsageFailure(message) from None
    header = [cell.lower() for cell in rows[0]] if rows else []
    place = header.index("code") if "code" in header else 0
    if "code" not in header and any(len(row) > 1 for row in rows):
        message = f"{path or 'stdin'} has several columns, and none is called `code`"
        raise UsageFailure(message, help="name the column of the codes `code` in the first line")
    body = rows[1:] if "code" in header else rows
    codes = list(dict.fromkeys(row[place] for row in body if len(row) > place and row[place]))
    if not codes:
        message = f"{path or 'stdin'} holds no codes"
        raise UsageFailure(message)
    return codes
