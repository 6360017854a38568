"""JSON Schemas of the language (draft 2020-12), for editors: one for any resource file, one for flowctl.yaml."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowctl.language.reading import KINDS, SETTINGS, SINGULAR, model_of

if TYPE_CHECKING:
    from flowctl.language.model import Model

DIALECT = "https://json-schema.org/draft/2020-12/schema"
RESOURCE_FILE = "flowctl.schema.json"
SETTINGS_FILE = "flowctl-settings.schema.json"

Json = dict[str, Any]


def resource_schema() -> Json:
    """A schema for any resource file: which one it is follows from its declaring key."""
    definitions = _definitions([model_of(kind) for kind in KINDS])
    branches: list[Json] = []
    properties: Json = {}
    for key, kind in SINGULAR.items():
        name = model_of(kind).__name__
        branches.append(
            {
                "if": {"required": [key]},
                "then": {"$ref": f"#/$defs/{name}"} if key == kind else _plural(key, name, definitions),
            }
        )
        properties[key] = {
            "description": definitions[name].get("description", "") if key == kind else f"several {kind}s in one file"
        }
    return {
        "$schema": DIALECT,
        "title": "a flowctl file",
        "type": "object",
        "properties": properties,
        "anyOf": [{"required": [key]} for key in SINGULAR],
        "allOf": branches,
        "$defs": definitions,
    }


def kind_schema(kind: str) -> Json:
    """A schema for one kind of file, `settings` being flowctl.yaml."""
    model = model_of(kind)
    definitions = _definitions([model])
    return {"$schema": DIALECT, "$ref": f"#/$defs/{model.__name__}", "$defs": definitions}


def settings_schema() -> Json:
    """A schema for flowctl.yaml."""
    return kind_schema(SETTINGS)


def _definitions(models: list[type[Model]]) -> Json:
    from pydantic.json_schema import models_json_schema  # noqa: PLC0415 - loaded only where it is needed

    _, top = models_json_schema([(model, "validation") for model in models], by_alias=True)
    definitions: Json = {name: _clean(schema) for name, schema in top["$defs"].items()}
    renamed = {name: name.rpartition("__")[2] for name in definitions if "__" in name}
    taken = [*renamed.values(), *(name for name in definitions if "__" not in name)]
    short = {old: new for old, new in renamed.items() if taken.count(new) == 1}
    if short:
        definitions = {short.get(name, name): _renamed(schema, short) for name, schema in definitions.items()}
    if "Goal" in definitions:
        definitions["Goal"] = _goal(definitions)
    return definitions


def _clean(schema: Any) -> Any:
    """Without titles and `default: null`; `oneOf` as `anyOf`, since a value that fits two ways is fine."""
    if isinstance(schema, list):
        return [_clean(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    cleaned: Json = {}
    for key, value in schema.items():
        if (
            (key == "title" and isinstance(value, str))
            or (key == "default" and value is None)
            or key == "discriminator"
        ):
            continue
        if key in ("properties", "$defs"):
            cleaned[key] = {name: _clean(inner) for name, inner in value.items()}
        elif key in ("examples", "default", "enum", "const"):
            cleaned[key] = value
        else:
            cleaned["anyOf" if key == "oneOf" else key] = _clean(value)
    if isinstance(cleaned.get("description"), str):
        cleaned["description"] = re.sub(r"\s+", " ", cleaned["description"])
    return cleaned


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    if isinstance(schema, list):
        return [_renamed(item, names) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _renamed(value, names) for key, value in schema.items()}
    target = found.get("$ref")
    if isinstance(target, str) and target.removeprefix("#/$defs/") in names:
        found["$ref"] = f"#/$defs/{names[target.removeprefix('#/$defs/')]}"
    return found


def _goal(definitions: Json) -> Json:
    """A goal is a condition with `within` and `ends` among its own keys, so each leaf is written out with them."""
    own = {key: value for key, value in definitions["Goal"]["properties"].items() if key != "condition"}
    leaves = [definitions[part["$ref"].removeprefix("#/$defs/")] for part in definitions["Condition"]["anyOf"]]
    merged = [{**leaf, "properties": {**leaf["properties"], **own}} for leaf in leaves]
    return {"description": definitions["Goal"].get("description", ""), "anyOf": merged}


def _plural(key: str, name: str, definitions: Json) -> Json:
    if key == "tests":
        inside: Json = {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}
    else:
        single = SINGULAR[key]
        whole = definitions[name]
        body = {**whole, "properties": {one: value for one, value in whole["properties"].items() if one != single}}
        body["required"] = [one for one in whole.get("required", []) if one != single]
        definitions[f"{name}Body"] = body
        inside = {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{name}Body"}}
    return {"properties": {key: inside}, "additionalProperties": False}
