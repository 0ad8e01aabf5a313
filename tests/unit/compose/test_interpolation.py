"""Variables, against the published tables."""

from typing import cast

import pytest

from kedge.compose.failures import ModelError, one_line
from kedge.compose.interpolation import interpolate
from kedge.compose.template import split_braced, substitute, variables_in
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import JsonObject
from tests.unit.compose.vectors import load, rows, texts

_DEFAULT = texts(cast("JsonObject", load("interpolation"))["default_env"])


@pytest.mark.parametrize("row", rows("interpolation", "strings"))
def test_texts(row: JsonObject) -> None:
    env = _DEFAULT if row["env"] == "default" else texts(row["env"])
    warnings: list[str] = []
    if "error" in row:
        with pytest.raises(InvalidParameterError) as caught:
            substitute(str(row["input"]), env)
        assert str(row["error"]) in str(caught.value)
        return
    assert substitute(str(row["input"]), env, warnings.append) == row["expected"]
    if "warnings" in row:
        assert len(warnings) == row["warnings"]


@pytest.mark.parametrize("row", rows("interpolation", "operators"))
def test_operators(row: JsonObject) -> None:
    assert split_braced(str(row["input"]))[1] == row["operator"]


@pytest.mark.parametrize("row", rows("interpolation", "variables"))
def test_variables(row: JsonObject) -> None:
    found = variables_in(row["input"])
    assert {name: variable._asdict() for name, variable in found.items()} == row["expected"]


@pytest.mark.parametrize("row", rows("interpolation", "trees"))
def test_trees(row: JsonObject) -> None:
    casts = {tuple(path.split(".")): kind for path, kind in texts(row.get("casts")).items()}
    if "error" in row:
        with pytest.raises(ModelError) as caught:
            interpolate(row["input"], texts(row["env"]), casts=casts)
        assert one_line(str(row["error"])) in str(caught.value)
    else:
        assert interpolate(row["input"], texts(row["env"]), casts=casts) == row["expected"]


def test_nesting_is_bounded() -> None:
    with pytest.raises(InvalidParameterError, match="nested too deeply"):
        substitute("${a:-" * 2000 + "}" * 2000, {})
