"""A presented model as YAML or JSON text."""

import json

import yaml

from kedge.compose.canonical import section
from kedge.lib.jsontypes import Json, JsonObject


def to_yaml(model: JsonObject) -> str:
    """Return the model as YAML, two spaces deep, in the order it has."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(model, Dumper=dumper, sort_keys=False, allow_unicode=True, width=1 << 20))


def to_json(model: JsonObject) -> str:
    """Return the model as JSON, two spaces deep."""
    services: JsonObject = {
        name: {"command": None, "entrypoint": None, **service}
        if isinstance(service, dict)
        else service
        for name, service in section(model, "services").items()
    }
    full: JsonObject = {**model, "services": services} if "services" in model else model
    return json.dumps(full, indent=2, ensure_ascii=False) + "\n"


def escape_dollars(value: Json) -> Json:
    """Return a model in which no text is read as a variable when it is loaded again."""
    if isinstance(value, dict):
        return {key: escape_dollars(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape_dollars(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
