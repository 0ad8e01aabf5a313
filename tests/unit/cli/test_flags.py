import pytest

from kedge.cli.command import Command, read_command_line
from kedge.cli.flags import (
    HelpRequestedError,
    Options,
    UsageError,
    integer,
    many,
    read_options,
    switch,
    value,
)
from kedge.client.http import EngineClient

FLAGS = (
    switch("interactive", "", short="i"),
    switch("tty", "", short="t"),
    switch("sig-proxy", "", default=True),
    value("name", "NAME", ""),
    value("time", "N", "", short="n", check=integer),
    many("env", "NAME", "", short="e"),
    many("network", "NAME", "", other_name="net"),
)


def nothing(_options: Options, _client: EngineClient) -> int:
    return 0


def read(*words: str, interspersed: bool = False) -> Options:
    return read_options(FLAGS, words, interspersed=interspersed)


def test_everything_after_the_first_word_is_the_programs() -> None:
    options = read("-it", "busybox", "ls", "-l", "--name", "x")
    assert options.words == ["busybox", "ls", "-l", "--name", "x"]
    assert options.on("interactive")
    assert options.on("tty")
    assert not options.given("name")


def test_flags_may_follow_words_where_no_program_runs() -> None:
    options = read("a", "--name", "x", "b", "--", "-i", interspersed=True)
    assert (options.words, options.text("name")) == (["a", "b", "-i"], "x")


@pytest.mark.parametrize(
    "words",
    [
        ["-e", "A=b=c"],
        ["-eA=b=c"],
        ["-e=A=b=c"],
        ["--env", "A=b=c"],
        ["--env=A=b=c"],
        ["-ie", "A=b=c"],
    ],
)
def test_ways_to_write_a_value(words: list[str]) -> None:
    assert read(*words, "x").texts("env") == ["A=b=c"]


def test_values_add_up_or_replace() -> None:
    options = read("-e", "1", "-e", "2", "--name=a", "--name=b")
    assert (options.texts("env"), options.text("name")) == (["1", "2"], "b")


def test_switches_can_be_said_with_a_value() -> None:
    assert not read("--interactive=false").on("interactive")
    assert read().on("sig-proxy")
    assert not read("--sig-proxy=0").on("sig-proxy")
    assert read().tristate("tty") is None
    assert read("-t=0").tristate("tty") is False


def test_another_name_of_a_flag() -> None:
    assert read("--net", "a", "--network=b").texts("network") == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nmae", "x"], "unknown flag: --nmae (did you mean --name?)"),
        (["--qqqqq"], "unknown flag: --qqqqq"),
        (["-iz"], "unknown shorthand flag: 'z' in -z"),
        (["--name"], "flag needs an argument: --name"),
        (["-e"], "flag needs an argument: 'e' in -e"),
        (
            ["--time", "x"],
            (
                'invalid argument "x" for "-n, --time" flag: '
                'strconv.ParseInt: parsing "x": invalid syntax'
            ),
        ),
        (
            ["-i=maybe"],
            (
                'invalid argument "maybe" for "-i, --interactive" flag: '
                'strconv.ParseBool: parsing "maybe": invalid syntax'
            ),
        ),
    ],
)  # fmt: skip
def test_mistakes(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(*words)
    assert str(caught.value) == message


def test_help() -> None:
    with pytest.raises(HelpRequestedError):
        read("--help")
    with pytest.raises(HelpRequestedError):
        read("-h")
    assert read("x", "--help").words == ["x", "--help"]


@pytest.mark.parametrize(
    ("at_least", "at_most", "words", "message"),
    [
        (1, -1, [], "'kedge x' requires at least 1 argument"),
        (2, 2, ["a"], "'kedge x' requires 2 arguments"),
        (1, 2, ["a", "b", "c"], "'kedge x' requires at least 1 and at most 2 arguments"),
        (0, 0, ["a"], "'kedge x' accepts no arguments"),
    ],
)
def test_numbers_of_words(at_least: int, at_most: int, words: list[str], message: str) -> None:
    command = Command("", "", FLAGS, nothing, at_least=at_least, at_most=at_most)
    with pytest.raises(UsageError) as caught:
        read_command_line("x", command, words)
    assert str(caught.value) == message
