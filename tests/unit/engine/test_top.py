import os

import pytest

from kedge.engine.top import list_processes
from kedge.errdefs import InvalidParameterError, NotSupportedError


@pytest.mark.parametrize(
    ("arguments", "titles"),
    [
        ("", "UID PID PPID C STIME TTY TIME CMD"),
        ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
        ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        ("auxww", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        ("-o pid,comm", "PID COMMAND"),
        ("-eo pid,pcpu,etime", "PID %CPU ELAPSED"),
        ("-opid,rss", "PID RSS"),
        ("axo pid -o user=WHO", "PID WHO"),
    ],
)
def test_columns(arguments: str, titles: str) -> None:
    shown = list_processes([os.getpid()], arguments)
    assert shown.titles == titles.split()
    (row,) = shown.processes
    assert len(row) == len(shown.titles)
    assert row[shown.titles.index("PID")] == str(os.getpid())


def test_values_of_this_process() -> None:
    (row,) = list_processes([os.getpid()], "-o pid,ppid,uid,nlwp,stat,vsz,etimes").processes
    assert row[1:3] == [str(os.getppid()), str(os.getuid())]
    assert int(row[3]) >= 1
    assert row[4] == "R"
    assert int(row[5]) > 1000
    assert int(row[6]) >= 1


def test_one_that_is_gone_has_no_row() -> None:
    assert list_processes([2**22 + 1], "").processes == []


def test_what_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(NotSupportedError, match="ps -o colour: no such column"):
        list_processes([], "-o pid,colour")
    with pytest.raises(NotSupportedError, match="ps --forest is not supported"):
        list_processes([], "--forest")
    with pytest.raises(InvalidParameterError, match="Couldn't find PID field in ps output"):
        list_processes([], "-o comm")
