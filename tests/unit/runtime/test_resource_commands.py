import pytest

from kedge.errdefs import InvalidParameterError
from kedge.runtime.options import parse_options
from kedge.runtime.resource_commands import COMMANDS, lines_about, resources_of_flags


def test_flags_become_resources() -> None:
    words = "--memory 64m --memory-swap=-1 --cpu-shares 512 --cpu-quota -1 --cpuset-cpus 0"
    options = parse_options([*words.split(), "--pids-limit", "0", "c"], COMMANDS["update"].flags)
    assert resources_of_flags(options) == {
        "memory": {"limit": 64 << 20, "swap": -1},
        "cpu": {"shares": 512, "quota": -1, "cpus": "0"},
        "pids": {"limit": 0},
    }


@pytest.mark.parametrize("words", [["--memory", "much"], ["--cpu-quota", "1.5"]])
def test_what_is_no_number_is_refused(words: list[str]) -> None:
    with pytest.raises(InvalidParameterError, match=r"much|--cpu-quota"):
        resources_of_flags(parse_options(words, COMMANDS["update"].flags))


def test_lines_of_ps_are_found_by_the_column() -> None:
    table = "USER   PID CMD\nroot     1 init\nroot    71 sh 7\nweb      7 sh\n"
    assert lines_about([7], table) == ["USER   PID CMD", "web      7 sh"]
    with pytest.raises(InvalidParameterError, match="column PID"):
        lines_about([7], "CMD\nsh\n")
