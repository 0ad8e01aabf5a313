"""What `kedge-runtime` prints, against the specification's schemas."""

import json
import os
from pathlib import Path

import jsonschema
import pytest

from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci.runtime_spec import parse_spec
from kedge.runtime.features import features_document
from kedge.runtime.spec_template import spec_document

REPO = Path(__file__).parents[3]
SCHEMAS = (
    Path(os.environ.get("KEDGE_SHARED_DATA", REPO.parent / "shared/data")) / "oci-runtime-schema"
)
pytestmark = pytest.mark.skipif(
    not SCHEMAS.is_dir(), reason=f"the runtime-spec's schemas are not at {SCHEMAS}"
)


def inline(value: Json, here: str) -> Json:
    """Replace every ``$ref`` by what it refers to, because the files have no base address."""
    if isinstance(value, list):
        return [inline(item, here) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if not isinstance(reference, str):
        return {key: inline(item, here) for key, item in value.items()}
    name, _, pointer = reference.partition("#")
    target = name or here
    path = SCHEMAS / target
    if not path.exists():
        return {}  # another platform's file
    found: Json = json.loads(path.read_text())
    for part in filter(None, pointer.split("/")):
        assert isinstance(found, dict)
        found = found[part]
    return inline(found, target)


def check(document: JsonObject, schema: str) -> None:
    whole = inline(json.loads((SCHEMAS / schema).read_text()), schema)
    assert isinstance(whole, dict)
    jsonschema.Draft4Validator(whole).validate(document)  # pyright: ignore[reportUnknownMemberType]


def test_features() -> None:
    check(features_document(), "features-schema.json")


def test_the_template_is_valid_for_the_schema_and_for_the_parser() -> None:
    check(spec_document(), "config-schema.json")
    spec = parse_spec(spec_document())
    assert spec.process is not None
    assert spec.process.terminal
