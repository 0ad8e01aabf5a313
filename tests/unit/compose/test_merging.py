"""Merging by path, against the published table."""

import pytest

from kedge.compose.merging import enforce_unicity, merge
from kedge.compose.yamlfile import parse_documents
from kedge.lib.jsontypes import JsonObject
from tests.unit.compose.vectors import rows


def _model(text: object) -> JsonObject:
    data = parse_documents(str(text), "compose.yaml")[0].data
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize("row", rows("merge", "merge"), ids=lambda row: str(row["test"]))
def test_merge(row: JsonObject) -> None:
    merged = merge(_model(row["base"]), _model(row["override"]))
    if row.get("unicity", True):
        assert enforce_unicity(merged) == _model(row["want"])
    else:
        assert merged == _model(row["want"])


@pytest.mark.parametrize("row", rows("merge", "unicity"), ids=lambda row: str(row["test"]))
def test_one_entry_per_key(row: JsonObject) -> None:
    assert enforce_unicity(_model(row["input"])) == _model(row["want"])
