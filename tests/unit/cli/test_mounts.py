import os

import pytest

from kedge.cli.options.mounts import parse_mount
from kedge.cli.options.volumes import has_source, parse_volume, sort_volumes
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import flag, mapping, pick, text, texts
from tests.unit.cli.vectors import as_error, needs_vectors, rows


@needs_vectors
def test_mounts() -> None:
    for row in rows("mount", "rows"):
        value, error = text(row, "value"), as_error(row)
        if error is not None:
            with pytest.raises(InvalidParameterError) as caught:
                parse_mount(value)
            assert str(caught.value) == error
            continue
        found = parse_mount(value)
        if "source_is_absolute_of" in row:
            assert found.pop("Source") == os.path.abspath(text(row, "source_is_absolute_of"))
        if "expected" in row:
            assert found == row["expected"]
        if "expected_type" in row:
            assert found["Type"] == row["expected_type"]
        if "field" in row:
            path = text(row, "field").split(".")
            assert (pick(found, *path) or False) == row["field_value"]
        if "absent" in row:
            assert text(row, "absent") not in found


@needs_vectors
def test_volumes() -> None:
    for row in rows("volume", "parse"):
        value, error = text(row, "input"), as_error(row)
        if error is not None:
            with pytest.raises(InvalidParameterError) as caught:
                parse_volume(value)
            message = str(caught.value)
            assert message == error if text(row, "match") == "equal" else error in message
            continue
        found, expected = parse_volume(value), mapping(row, "expected")
        if not expected:
            assert flag(row, "accepted")
            continue
        assert (found.kind, found.source, found.target) == (
            text(expected, "type"),
            text(expected, "source"),
            text(expected, "target"),
        )
        assert found.read_only == flag(expected, "read_only")
        assert found.propagation == text(expected, "bind", "propagation")
        assert found.no_copy == flag(expected, "volume", "nocopy")


@needs_vectors
def test_sources() -> None:
    for row in rows("volume", "split"):
        assert has_source(text(row, "input")) == flag(row, "has_source"), row


@needs_vectors
def test_binds_and_anonymous_volumes() -> None:
    for row in rows("volume", "run_v_binds"):
        binds, anonymous = sort_volumes(texts(row, "volumes"), "/here")
        assert binds == texts(row, "binds")
        assert anonymous == texts(row, "anonymous")


def test_relative_paths_are_the_clients() -> None:
    assert sort_volumes(["./a:/b:ro", "name:/c", "..:/d"], "/x/y") == (
        ["/x/y/a:/b:ro", "name:/c", "/x:/d"],
        [],
    )
