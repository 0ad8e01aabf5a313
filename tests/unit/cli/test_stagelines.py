import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kedge.cli.bars import RunningStages
from kedge.cli.stagelines import stage_lines
from kedge.lib.fields import text
from kedge.lib.jsontypes import JsonObject


def said(name: str, stream: str, **marks: str | bool) -> JsonObject:
    return {"stream": stream, "stage": {"name": name, **marks}}


def shown(*messages: JsonObject) -> str:
    return "".join(text(message, "stream") for message in stage_lines(messages))


def test_every_line_says_its_stage_and_none_holds_two() -> None:
    assert shown(
        said("a", "one "), said("b", "two\nthree"), said("a", "more\n\n"), said("b", "!\n")
    ) == "[b] two\n[a] one more\n[a] \n[b] three!\n"  # fmt: skip


def test_what_belongs_to_no_stage_comes_after_what_stages_said() -> None:
    assert shown(said("a", "half"), {"stream": "Successfully built x\n"}) == (
        "[a] half\nSuccessfully built x\n"
    )
    assert shown({"stream": "as it "}, {"stream": "is"}) == "as it is"


def test_of_a_line_drawn_over_the_last_state_stays() -> None:
    assert shown(said("a", "10%\r50%\r100%\r\n")) == "[a] 100%\n"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.text("xy\n", max_size=5))))
def test_nothing_of_a_stage_is_lost(pieces: list[tuple[str, str]]) -> None:
    lines = shown(*(said(name, piece) for name, piece in pieces)).splitlines()
    for name in "ab":
        whole = "".join(piece for of, piece in pieces if of == name)
        assert [line[4:] for line in lines if line.startswith(f"[{name}] ")] == whole.splitlines()


def test_a_terminal_shows_the_steps_that_run_and_for_how_long() -> None:
    now_s = iter((0.0, 1.0, 3.5))
    stages = RunningStages(lambda: next(now_s))
    stages.take(said("web", "", begins="2/9 RUN make\nmore"))
    stages.take(said("db", "", begins="3/9 RUN load"))
    stages.take(said("web", "compiling\n"))
    stages.take(said("web", " ---> 123\n", ends=True))
    stages.take({"stream": "Successfully built 123\n"})
    stream = io.StringIO()
    Console(file=stream, width=40).print(stages)
    assert stream.getvalue().split() == ["db", "3/9", "RUN", "load", "2.5s"]
    stages.clear()
    Console(file=stream).print(stages)
    assert stream.getvalue().split() == ["db", "3/9", "RUN", "load", "2.5s"]
