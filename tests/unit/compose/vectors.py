"""The published tables of facts, where they are present."""

import json
import os
from pathlib import Path
from typing import cast

import pytest

from kedge.lib.jsontypes import Json, JsonObject

_REPOSITORY = Path(__file__).resolve().parents[3]
_FOLDER = Path(os.environ.get("KEDGE_SHARED_DATA", _REPOSITORY.parent / "shared/data"))


def load(name: str) -> Json:
    """The table of this name; the test is skipped where the folder is missing."""
    path = _FOLDER / "vectors/compose" / f"{name}.json"
    if not path.is_file():
        pytest.skip("needs KEDGE_SHARED_DATA", allow_module_level=True)
    return cast("Json", json.loads(path.read_text()))


def rows(name: str, key: str = "") -> list[JsonObject]:
    """The rows of a table, or of one of its parts."""
    table = load(name)
    return cast("list[JsonObject]", cast("JsonObject", table)[key] if key else table)


def texts(value: Json) -> dict[str, str]:
    """A mapping of texts."""
    return {key: str(item) for key, item in cast("JsonObject", value or {}).items()}
