"""Whole files: what must be refused, what must load, and that nothing ends in a traceback."""

import json
import time
from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kedge.compose.attributes import SHAPES
from kedge.compose.canonical import canonical
from kedge.compose.consistency import check_consistency
from kedge.compose.failures import ComposeFileError, one_line
from kedge.compose.loading import File, Settings, load_model
from kedge.compose.merging import as_entries
from kedge.compose.normalize import normalize
from kedge.compose.shapes import check_shape
from kedge.compose.yamlfile import parse_documents
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject
from tests.unit.compose.vectors import rows, texts


def _missing(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", path)


def _settings(row: JsonObject | None = None, files: Mapping[str, str] | None = None) -> Settings:
    checks = cast("JsonObject", (row or {}).get("checks", {}))

    def read(path: str) -> str:
        return files[path] if files and path in files else _missing(path)

    return Settings(
        read=read,
        directory="/project",
        env=texts((row or {}).get("env")),
        consistency=bool(checks.get("consistency", True)),
        normalize=bool(checks.get("normalize", True)),
        interpolate=bool(checks.get("interpolate", True)),
    )


def _files(row: JsonObject) -> list[File]:
    given = cast("list[str]", row["files"])
    return [File(f"f{index}.yml", text) for index, text in enumerate(given)]


def _check_models(row: JsonObject) -> None:
    checks = cast("JsonObject", row["checks"])
    for model in cast("list[JsonObject]", row["models"]):
        if checks["schema"]:
            check_shape(model)
        if checks["consistency"]:
            check_consistency(canonical(model))


_LOADED_LATER = "this-file-does-not-exist.env"


@pytest.mark.parametrize("row", rows("reject", "reject"), ids=lambda row: str(row["test"]))
def test_refused(row: JsonObject) -> None:
    if row["error"] == _LOADED_LATER:
        pytest.skip("environment files are read with the project: test_project")
    began = time.monotonic()
    with pytest.raises(InvalidParameterError) as caught:
        _check_models(row) if "models" in row else load_model(_files(row), _settings(row))
    assert time.monotonic() - began < float(str(row.get("max_seconds", 60)))
    text = str(caught.value)
    assert text == one_line(text)
    if "files" in row:
        assert text.partition(": ")[0].count(":") == 2


@pytest.mark.parametrize("row", rows("reject", "accept"), ids=lambda row: str(row["test"]))
def test_loads(row: JsonObject) -> None:
    if "models" in row:
        _check_models(row)
    else:
        settings_ = _settings(row)
        settings_ = settings_ if "name:" in str(row["files"]) else settings_._replace(name="p")
        assert load_model(_files(row), settings_).model["name"]


def _sorted(value: Json) -> Json:
    if isinstance(value, dict):
        return {
            key: [*sorted(map(str, as_entries(item)))]
            if key in {"environment", "args"}
            else _sorted(item)
            for key, item in value.items()
        }
    return value


@pytest.mark.parametrize("row", rows("normalize"), ids=lambda row: str(row["test"]))
def test_normalize(row: JsonObject) -> None:
    model, want = (parse_documents(str(row[key]), key)[0].data for key in ("input", "want"))
    assert isinstance(model, dict)
    assert _sorted(normalize(model, texts(row["env"]))) == _sorted(want)


def test_fault_names_file_line_column_and_the_nearest_name() -> None:
    text = "name: p\nservices:\n  web:\n    image: a\n    comand: x\n"
    with pytest.raises(ComposeFileError) as caught:
        load_model([File("compose.yaml", text)], _settings())
    assert str(caught.value) == (
        "compose.yaml:5:5: services.web additional properties 'comand' not allowed, "
        "did you mean 'command'?"
    )


def test_reset_and_override_clear_what_came_before() -> None:
    base = "name: p\nservices: {web: {image: a, ports: ['80:80'], dns: [1.1.1.1]}}\n"
    over = "services: {web: {ports: !override ['90:90'], dns: !reset null}}\n"
    model = load_model([File("a", base), File("b", over)], _settings()).model
    web = cast("dict[str, dict[str, JsonObject]]", model)["services"]["web"]
    assert [port["published"] for port in cast("list[JsonObject]", web["ports"])] == ["90"]
    assert "dns" not in web


def test_include_and_extends_have_their_own_folder() -> None:
    files = {
        "/project/sub/inc.yml": "services: {db: {image: db, volumes: ['./d:/d']}}",
        "/project/base/b.yml": "services: {b: {build: ./ctx, environment: {A: 1}}}",
    }
    text = """
name: p
include: [sub/inc.yml]
services:
  web: {extends: {file: base/b.yml, service: b}, environment: [B=2], depends_on: [db]}
"""
    model = load_model([File("c", text)], _settings(files=files)).model
    services = cast("dict[str, dict[str, Json]]", model["services"])
    assert cast("list[JsonObject]", services["db"]["volumes"])[0]["source"] == "/project/sub/d"
    assert cast("JsonObject", services["web"]["build"])["context"] == "/project/base/ctx"
    assert services["web"]["environment"] == ["A=1", "B=2"]


def test_include_cycle_is_refused() -> None:
    files = {"/project/a.yml": "include: [b.yml]", "/project/b.yml": "include: [a.yml]"}
    with pytest.raises(ComposeFileError, match="include cycle detected"):
        load_model([File("c", "name: p\ninclude: [a.yml]")], _settings(files=files))


def test_profiles_switch_services_off() -> None:
    text = "name: p\nservices: {a: {image: a}, b: {image: b, profiles: [x]}}"
    assert list(load_model([File("c", text)], _settings()).disabled) == ["b"]
    assert not load_model([File("c", text)], _settings()._replace(profiles=("x",))).disabled


_KEYS = sorted(
    {word.partition(":")[0].rstrip("!") for text in SHAPES.values() for word in text.split()}
)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 99999), st.floats(allow_nan=False),
    st.sampled_from(["a", "80:80", "${A:-b}", "${", "service:a", "", ".:/a", "1m", "x=y", "all"]),
)  # fmt: skip
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


def _outcome(files: list[File]) -> str:
    try:
        return str(load_model(files, _settings()).model["name"])
    except InvalidParameterError as error:
        return "refused" if str(error) == one_line(str(error)) else str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(service=st.dictionaries(st.sampled_from(_KEYS), _TREES, max_size=6), top=_TREES, over=_TREES)
def test_any_model_loads_or_is_refused_in_one_line(service: Json, top: Json, over: Json) -> None:
    first: JsonObject = {"name": "p", "services": {"a": service}}
    second: JsonObject = {**(top if isinstance(top, dict) else {}), "services": {"a": over}}
    documents = [File(f"{n}.yml", json.dumps(model)) for n, model in enumerate((first, second))]
    assert _outcome(documents) in {"p", "refused"}


@settings(max_examples=150, deadline=None)
@given(text=st.text("ab:-[]{}&*!<|>#\"'\n\t ${}?,x1\x00\u2028", max_size=60))
def test_any_text_loads_or_is_refused_in_one_line(text: str) -> None:
    assert _outcome([File("f.yml", text)]) == "refused"
