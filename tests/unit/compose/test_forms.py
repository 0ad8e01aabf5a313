"""Short forms, sizes and hosts, against the published tables."""

import json

import pytest

from kedge.compose.ports import expand_ports, parse_port, with_port_defaults
from kedge.compose.values import parse_bytes, parse_extra_hosts, parse_span
from kedge.compose.volumespec import format_volume, has_source, parse_volume
from kedge.compose.yamlfile import parse_documents
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import JsonObject
from tests.unit.compose.vectors import rows


@pytest.mark.parametrize("row", rows("volume_short", "parse"))
def test_volume_short_form(row: JsonObject) -> None:
    if "error" in row:
        with pytest.raises(InvalidParameterError) as caught:
            parse_volume(str(row["input"]))
        assert str(row["error"]) in str(caught.value)
    elif row.get("accepted"):
        assert parse_volume(str(row["input"]))["target"]
    else:
        assert parse_volume(str(row["input"])) == row["expected"]


@pytest.mark.parametrize("row", rows("volume_short", "split"))
def test_volume_source_is_found(row: JsonObject) -> None:
    assert has_source(str(row["input"])) == row["has_source"]


def test_volume_to_short_form() -> None:
    for row in rows("volume_short", "to_string"):
        assert isinstance(row["input"], dict)
        assert format_volume(row["input"]) == row["expected"]


@pytest.mark.parametrize("row", rows("ports_short", "parse"))
def test_port_short_form(row: JsonObject) -> None:
    if "error" in row:
        with pytest.raises(InvalidParameterError) as caught:
            parse_port(str(row["input"]))
        assert str(row["error"]) in str(caught.value)
    else:
        assert parse_port(str(row["input"])) == row["expected"]


@pytest.mark.parametrize("row", rows("ports_short", "transform"))
def test_port_lists(row: JsonObject) -> None:
    given = row["input"]
    if isinstance(given, dict):
        assert with_port_defaults(given) == row["expected"]
        return
    assert isinstance(given, list)
    lenient = bool(row["ignore_parse_error"])
    if "error" in row:
        with pytest.raises(InvalidParameterError) as caught:
            expand_ports(given, lenient=lenient)
        assert str(row["error"]) in str(caught.value)
    else:
        assert expand_ports(given, lenient=lenient) == row["expected"]


@pytest.mark.parametrize("row", rows("values", "extra_hosts"))
def test_extra_hosts(row: JsonObject) -> None:
    if "error" in row:
        with pytest.raises(InvalidParameterError) as caught:
            parse_extra_hosts(row["input"])
        assert str(row["error"]) in str(caught.value)
        return
    hosts = parse_extra_hosts(row["input"])
    entries = sorted(f"{name}:{address}" for name in hosts for address in hosts[name])
    assert " ".join(entries) == row["expected"]


@pytest.mark.parametrize("row", rows("values", "unit_bytes"))
def test_sizes(row: JsonObject) -> None:
    text = str(row["input"])
    value = json.loads(text) if row["format"] == "json" else parse_documents(text, "f")[0].data
    if "error" in row:
        with pytest.raises(InvalidParameterError):
            parse_bytes(value)
    else:
        assert parse_bytes(value) == row["expected"]


def test_durations_know_days_and_weeks() -> None:
    assert parse_span("1w2d1h") == (9 * 24 + 1) * 3_600_000_000_000
    with pytest.raises(InvalidParameterError):
        parse_span("ten")
