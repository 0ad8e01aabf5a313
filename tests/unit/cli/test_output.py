import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.cli.exitcodes import code_of_failed_run
from kedge.cli.listing import parse_filters, print_listing
from kedge.cli.output import format_table, shorten
from kedge.cli.progress import show_progress
from kedge.cli.stats import CpuSample, cpu_share, memory_usage
from kedge.errdefs import SystemFailureError
from kedge.lib.jsontypes import JsonObject

ROWS: list[JsonObject] = [
    {"ID": "1", "Name": "web", "Label": {"a": "b"}},
    {"ID": "2", "Name": "database", "Label": {}},
]
HEADERS = {"ID": "CONTAINER ID", "Name": "NAMES"}


def listed(capsys: pytest.CaptureFixture[str], *, template: str = "", quiet: str = "") -> str:
    print_listing(ROWS, headers=HEADERS, columns=("ID", "Name"), template=template, quiet=quiet)
    return capsys.readouterr().out


def test_tables_are_dockers(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys) == "CONTAINER ID   NAMES\n1              web\n2              database\n"
    assert listed(capsys, quiet="ID") == "1\n2\n"
    assert listed(capsys, template="{{.Name}}:{{.ID}}") == "web:1\ndatabase:2\n"
    assert listed(capsys, template="json").splitlines()[0] == '{"ID":"1","Name":"web"}'
    assert listed(capsys, template=r"table {{.Name}}\t{{.ID}}") == (
        "NAMES      CONTAINER ID\nweb        1\ndatabase   2\n"
    )
    assert listed(capsys, template="table") == listed(capsys)


def test_narrow_columns_are_ten_wide() -> None:
    assert format_table(["A", "B"], [["1", "2"]]) == "A         B\n1         2\n"


@given(st.lists(st.integers(0, 80), min_size=1, max_size=6), st.integers(60, 200))
def test_lines_fit_the_terminal(widths: list[int], width: int) -> None:
    lines = format_table(["H"] * len(widths), [["x" * n for n in widths]], width).splitlines()
    # Below this, columns would no longer tell anything.
    assert max(map(len, lines)) <= max(width, 15 * len(widths))


def test_shortening() -> None:
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"


def test_filters() -> None:
    assert parse_filters([]) == ""
    assert parse_filters(["status=exited", "label=a=b", "status=created"]) == (
        '{"status": {"exited": true, "created": true}, "label": {"a=b": true}}'
    )


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('exec: "x": executable file not found in $PATH', 127),
        ("stat /x: no such file or directory", 127),
        ("exec /x: permission denied", 126),
        ("exec /: is a directory", 126),
        ("port is already allocated", 125),
    ],
)
def test_exit_codes_follow_the_text(message: str, code: int) -> None:
    assert code_of_failed_run(message) == code


def pull_messages() -> Iterator[JsonObject]:
    yield {"status": "Pulling from library/x", "id": "latest"}
    yield {"status": "Pulling fs layer", "id": "aaa", "progressDetail": {}}
    for current in (1, 2, 3):
        detail: JsonObject = {"current": current, "total": 3}
        yield {"status": "Downloading", "id": "aaa", "progressDetail": detail}
    yield {"status": "Pull complete", "id": "aaa", "progressDetail": {}}
    yield {"status": "Status: Downloaded newer image for x:latest"}


def test_progress_without_a_terminal_is_a_line_for_each_change() -> None:
    stream = io.StringIO()
    show_progress(pull_messages(), stream)
    assert stream.getvalue().splitlines() == [
        "latest: Pulling from library/x",
        "aaa: Pulling fs layer",
        "aaa: Pull complete",
        "Status: Downloaded newer image for x:latest",
    ]


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_has_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    show_progress(pull_messages(), stream)
    assert "Pull complete" in stream.getvalue()
    assert "Status: Downloaded newer image" in stream.getvalue()
    assert "\x1b[3" not in stream.getvalue()


def test_a_failure_in_the_stream_is_raised() -> None:
    messages: list[JsonObject] = [{"status": "a"}, {"errorDetail": {"message": "no space"}}]
    stream = io.StringIO()
    with pytest.raises(SystemFailureError, match="no space"):
        show_progress(messages, stream)
    assert stream.getvalue() == "a\n"


def test_shares_of_cpu() -> None:
    assert cpu_share(CpuSample(0, 0), CpuSample(50, 200), 2) == 50.0
    assert cpu_share(CpuSample(5, 5), CpuSample(5, 5), 2) == 0.0


def test_memory_without_the_cache() -> None:
    assert memory_usage({"memory_stats": {"usage": 10, "stats": {"inactive_file": 4}}}) == 6
    on_v1: JsonObject = {"total_inactive_file": 3, "inactive_file": 4}
    assert memory_usage({"memory_stats": {"usage": 10, "stats": on_v1}}) == 7
    assert memory_usage({"memory_stats": {"usage": 10}}) == 10
