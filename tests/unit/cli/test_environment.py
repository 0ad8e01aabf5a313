from pathlib import Path

import pytest

from kedge.cli.options.environment import (
    check_label,
    parse_env,
    parse_key_values,
    read_key_values,
    to_map,
)
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import mapping, number, objects, text, texts
from tests.unit.cli.vectors import as_error, load, needs_vectors, rows


@needs_vectors
def test_values_on_the_command_line() -> None:
    for row in rows("env_file", "validate_env"):
        error = as_error(row)
        if error is None:
            assert parse_env(text(row, "value"), lambda _: None) == row["expected"]
        else:
            with pytest.raises(InvalidParameterError) as caught:
                parse_env(text(row, "value"), lambda _: None)
            assert str(caught.value) == error


def test_a_name_alone_takes_the_clients_value() -> None:
    assert parse_env("A", {"A": "1"}.get) == "A=1"
    assert parse_env("A=", {"A": "1"}.get) == "A="


@needs_vectors
def test_files() -> None:
    for row in rows("env_file", "files"):
        content = text(row, "content") or text(row, "content_prefix") + text(
            row, "content_repeat"
        ) * number(row, "content_repeat_count")
        known = to_map(f"{k}={v}" for k, v in mapping(row, "env").items())
        lookup = None if row["env"] is None else known.get
        error = as_error(row)
        if error is None:
            assert parse_key_values(content, lookup) == row["expected"]
        else:
            with pytest.raises(InvalidParameterError) as caught:
                parse_key_values(content, lookup)
            assert error in str(caught.value)


@needs_vectors
def test_files_and_overrides(tmp_path: Path) -> None:
    vectors = mapping(load("env_file"), "read_many")
    for name, content in mapping(vectors, "files").items():
        (tmp_path / name).write_text(str(content))
    known = to_map(f"{k}={v}" for k, v in mapping(vectors, "env").items())
    for row in objects(vectors, "rows"):
        files = [str(tmp_path / name) for name in texts(row, "files")]
        assert read_key_values(files, texts(row, "overrides"), known.get) == row["expected"]


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InvalidParameterError, match="open /nowhere: no such file"):
        read_key_values(["/nowhere"], [], None)


@needs_vectors
def test_labels() -> None:
    for row in rows("values", "label"):
        error = as_error(row)
        if error is None:
            check_label(text(row, "input"))
        else:
            with pytest.raises(InvalidParameterError) as caught:
                check_label(text(row, "input"))
            assert str(caught.value) == error
