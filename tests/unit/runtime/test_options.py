import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import InvalidParameterError
from kedge.runtime.life_commands import parse_signal
from kedge.runtime.options import LIST, SWITCH, VALUE, alias, parse_options

FLAGS = {"bundle": VALUE, "b": alias("bundle"), "detach": SWITCH, "env": LIST, "e": alias("env")}


def test_every_spelling() -> None:
    for words in (["--bundle", "x"], ["--bundle=x"], ["-b", "x"], ["-b=x"], ["-bundle", "x"]):
        assert parse_options([*words, "id"], FLAGS).value("bundle") == "x"


def test_options_end_at_the_first_argument() -> None:
    parsed = parse_options(["--detach", "id", "--detach=false"], FLAGS)
    assert parsed.switch("detach")
    assert parsed.arguments == ["id", "--detach=false"]
    assert parse_options(["--", "--x"], FLAGS).arguments == ["--x"]


def test_repeated_values_are_kept() -> None:
    assert parse_options(["-e", "A=1", "--env=B=2"], FLAGS).values("env") == ["A=1", "B=2"]


@pytest.mark.parametrize("words", [["--nothing"], ["--bundle"], ["--detach=maybe"]])
def test_mistakes_are_refused(words: list[str]) -> None:
    with pytest.raises(InvalidParameterError):
        parse_options(words, FLAGS)


@given(st.lists(st.text(max_size=5)))
def test_what_follows_the_dashes_is_untouched(rest: list[str]) -> None:
    assert parse_options(["--", *rest], FLAGS).arguments == rest


@pytest.mark.parametrize("text", ["9", "KILL", "SIGKILL", "kill"])
def test_signals(text: str) -> None:
    assert parse_signal(text) == 9


@pytest.mark.parametrize("text", ["0", "99", "-9", "NOTHING", ""])
def test_no_such_signal(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        parse_signal(text)
