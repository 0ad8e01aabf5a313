import json
from pathlib import Path

import pytest

from kedge.errdefs import InvalidParameterError
from kedge.runtime.journal import Journal


def test_a_file_gets_all_levels_and_standard_error_only_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    journal = Journal(str(path), "json", debug=True)
    journal.debug("being done")
    journal.warning("done without")
    journal.error('no such "thing"')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["level"] for line in lines] == ["debug", "warning", "error"]
    assert lines[2]["msg"] == 'no such "thing"'
    assert capsys.readouterr().err == 'kedge-runtime: no such "thing"\n'


def test_text_lines_are_runc_s(tmp_path: Path) -> None:
    path = tmp_path / "log"
    Journal(str(path)).error('a "b"')
    assert path.read_text().endswith('Z" level=error msg="a \\"b\\""\n')


def test_without_a_file_warnings_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal()
    journal.debug("nobody asked")
    journal.warning("careful")
    assert capsys.readouterr().err == "kedge-runtime: warning: careful\n"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="text or json"):
        Journal("", "xml")
