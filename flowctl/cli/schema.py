"""`flowctl schema`: JSON Schemas, so that editors complete and check the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from flowctl.cli.invocation import invocation

Kind = Literal[
    "resource", "settings", "workflow", "segment", "message", "score", "survey", "geofence", "test", "assumptions"
]
EXAMPLES = """\
flowctl schema --out .flowctl                 both schemas into a folder
flowctl schema --kind workflow                one kind, to stdout
# first line of a file: # yaml-language-server: $schema=../.flowctl/flowctl.schema.json"""


def command(
    ctx: typer.Context,
    out: Annotated[
        str,
        typer.Option("--out", metavar="DIR", help="Write flowctl.schema.json and flowctl-settings.schema.json there."),
    ] = "",
    kind: Annotated[
        Kind,
        typer.Option(
            "--kind", help="What the schema describes: `resource` is any file but flowctl.yaml, which is `settings`."
        ),
    ] = "resource",
) -> int:
    """Write JSON Schemas, so that editors complete the files.

    They catch misspelt keys and wrong values while you type; `flowctl validate` knows more: names, fields, types.
    """
    from flowctl.language.schema import RESOURCE_FILE, SETTINGS_FILE, kind_schema, resource_schema, settings_schema

    if not out:
        chosen = resource_schema() if kind == "resource" else kind_schema(kind)
        print(json.dumps(chosen, ensure_ascii=False, indent=2))
        return 0
    said = invocation(ctx)
    folder = said.directory / Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in ((RESOURCE_FILE, resource_schema()), (SETTINGS_FILE, settings_schema())):
        (folder / name).write_text(json.dumps(schema, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        said.say(f"wrote {folder / name}")
    return 0
