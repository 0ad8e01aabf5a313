import io
import json
import re
import threading

import pytest

from kedge.cli.compose.progress import open_progress
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.showing import JsonProgress, Progress
from kedge.cli.compose.ttyprogress import Task, TtyProgress, frame
from kedge.cli.flags import Options, read_options
from kedge.compose.events import Event, Kind, Status, done, failed, working
from kedge.errdefs import InvalidParameterError

WEB = working(Kind.CONTAINER, "web-1", "Starting")
DB = done(Kind.CONTAINER, "db-1", "Healthy")


def options(*words: str) -> Options:
    return read_options(PROJECT_FLAGS, words, interspersed=True)


def draw(*tasks: Task, width: int = 40, height: int = 10, now_s: float = 1.5) -> list[str]:
    return frame("up", tasks, now_s, width=width, height=height, color=False)


def test_the_list_says_how_far_each_is() -> None:
    assert draw(Task(DB, 0.0, 1.2), Task(WEB, 1.0)) == [
        "[+] up 1/2",
        " ✔ Container db-1   Healthy        1.2s",
        " ⠴ Container web-1  Starting       0.5s",
    ]


def test_failures_and_bytes_are_shown() -> None:
    moving = Event(
        Kind.IMAGE, "busybox", "Pulling", Status.WORKING, current=500_000, total=2_000_000
    )
    lines = draw(Task(failed(Kind.CONTAINER, "db-1", "no\nway"), 0, 1), Task(moving, 0), width=60)
    assert lines[1].startswith(" ✘ Container db-1  Error no ")
    assert "Pulling 500kB/2MB" in lines[2]


def test_nothing_is_wider_or_higher_than_the_terminal() -> None:
    many = [Task(working(Kind.CONTAINER, f"c{at}", "x" * 100), 0.0, 1.0) for at in range(30)]
    many.append(Task(WEB, 0.0))
    lines = draw(*many, width=30, height=8)
    assert len(lines) == 8
    assert max(map(len, lines)) <= 30
    assert lines[-1] == " ... 25 more"
    # What is still going on is never hidden by what is over.
    assert lines[-2].startswith(" ⠴ Container web-1")


def test_a_terminal_is_drawn_over_and_build_lines_stay_above() -> None:
    stream = io.StringIO()
    now = iter(range(1000))
    with TtyProgress(stream, "up", color=False, now=lambda: float(next(now))) as progress:
        progress.report(WEB)
        progress.report(Event(Kind.IMAGE, "i", "Building", Status.WORKING, output="Step 1\n"))
        progress.report(done(Kind.CONTAINER, "web-1", "Started"))
    plain = re.sub(r"\x1b\[[0-9]*[A-Za-z]", "", stream.getvalue())
    assert plain.count("Step 1\n") == 1
    assert plain.rstrip("\n").splitlines()[-2].startswith(" ✔ Container web-1  Started")
    progress.report(failed(Kind.CONTAINER, "web-1", "late"))
    assert stream.getvalue().endswith(" Container web-1  Error late\n")


def test_json_is_one_object_a_line_from_any_thread() -> None:
    stream = io.StringIO()
    progress = JsonProgress(stream)
    threads = [threading.Thread(target=progress.report, args=(WEB,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress.report(Event(Kind.IMAGE, "i", "Pulling", Status.WORKING, current=1, total=3))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[:20] == [{"id": "Container web-1", "status": "Working", "text": "Starting"}] * 20
    assert lines[20]["percent"] == 33


def test_plain_lines_have_the_reason_and_no_bytes() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.report(working(Kind.CONTAINER, "web-1", "Recreate", "env A changed"))
        progress.report(Event(Kind.IMAGE, "i", "Pulling", Status.WORKING, current=1, total=3))
    assert stream.getvalue() == " Container web-1  Recreate env A changed\n"


def test_the_mode_is_chosen_by_flag_variable_and_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for words, env, said in (
        ((), {}, " Container db-1  Healthy\n"),
        (("--progress", "quiet"), {}, ""),
        ((), {"COMPOSE_PROGRESS": "quiet"}, ""),
        (("--progress=plain",), {"COMPOSE_PROGRESS": "quiet"}, " Container db-1  Healthy\n"),
        (("--progress=json",), {}, '{"id":"Container db-1","status":"Done","text":"Healthy"}\n'),
        (("--progress=tty", "--ansi=never"), {}, "\r[+] up 1/1\x1b[K\n"),
    ):
        with open_progress(options(*words), env, "up") as progress:
            progress.report(DB)
        shown = capsys.readouterr().err
        assert shown == said or (said.startswith("\r") and shown.startswith(said)), words
    with open_progress(options(), {"COMPOSE_STATUS_STDOUT": "1"}, "up") as progress:
        progress.report(DB)
    assert capsys.readouterr().out == " Container db-1  Healthy\n"
    for words, said in ((("--progress", "odd"), "odd"), (("--ansi", "blue"), "blue")):
        with pytest.raises(InvalidParameterError, match=said):
            open_progress(options(*words), {}, "up")
