"""Reading the shared vectors of Docker's command line."""

import json
import os
from pathlib import Path
from typing import cast

import pytest

from kedge.lib.fields import objects
from kedge.lib.jsontypes import Json, JsonObject

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = (
    Path(os.environ.get("KEDGE_SHARED_DATA", REPOSITORY.parent / "shared/data")) / "vectors/cli"
)

needs_vectors = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no test vectors at {FOLDER}")


def load(name: str) -> JsonObject:
    """Return a file of vectors."""
    return cast("JsonObject", json.loads((FOLDER / f"{name}.json").read_text()))


def rows(name: str, *path: str) -> list[JsonObject]:
    """Return the rows at ``path``; there must be some."""
    found = objects(load(name), *path)
    assert found
    return found


def as_error(row: JsonObject) -> str | None:
    """Return the expected message of a row that fails; empty where any message will do."""
    error: Json = row.get("error")
    if error is None or error is False:
        return None
    return error if isinstance(error, str) else ""
