"""Containers over their whole life, through the official client."""

import contextlib
import socket
import time

import pytest

from kedge.errdefs import ConflictError, NotFoundError, NotModifiedError
from kedge.lib.clock import SYSTEM_CLOCK
from tests.engine import Engine, page

pytestmark = pytest.mark.integration


def serve(engine: Engine, *flags: str) -> None:
    script = "mkdir /www; echo $0 > /www/index.html; exec httpd -f -p 80 -h /www"
    engine.docker("run", "-d", *flags, "busybox", "sh", "-c", script, "hello")


def published(engine: Engine, name: str) -> int:
    return int(engine.docker("port", name, "80/tcp").stdout.split("\n")[0].rpartition(":")[2])


def test_a_published_page(engine: Engine) -> None:
    serve(engine, "--name", "web", "-p", "80")
    assert page(published(engine, "web")) == "hello\n"
    listed = engine.docker("ps", "--format", "{{.Names}} {{.State}} {{.Image}}").stdout
    assert listed == "web running busybox\n"


def test_a_taken_port_names_its_holder_and_leaves_nothing(engine: Engine) -> None:
    with socket.create_server(("0.0.0.0", 0)) as holder:
        port = holder.getsockname()[1]
        done = engine.docker("run", "--rm", "-p", f"{port}:80", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "address already in use" in done.stderr
    assert f"port {port} is held by pid" in done.stderr
    assert engine.docker("ps", "-aq").stdout == ""


def test_exit_codes(engine: Engine) -> None:
    for words, code in (
        (["sh", "-c", "exit 7"], 7),
        (["nosuch"], 127),
        (["/nosuch"], 127),
        (["/etc"], 126),
    ):
        done = engine.docker("run", "--rm", "busybox", *words, check=False)
        assert done.returncode == code, (words, done)
    assert engine.docker("ps", "-aq").stdout == ""


def test_input_reaches_a_container_and_its_end_too(engine: Engine) -> None:
    done = engine.docker("run", "-i", "--rm", "busybox", "sh", "-c", "cat; echo end", text="a\nb\n")
    assert done.stdout == "a\nb\nend\n"


def test_stdout_and_stderr_stay_apart(engine: Engine) -> None:
    done = engine.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_exec_has_its_own_exit_code_user_and_directory(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "busybox", "sleep", "60")
    done = engine.docker(
        "exec", "-u", "web", "-w", "/etc", "-e", "A=1", "box", "sh", "-c",
        "id -un; pwd; echo $A; exit 5", check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["web", "/etc", "1"]
    assert done.returncode == 5
    missing = engine.docker("exec", "box", "nosuch", check=False)
    assert missing.returncode == 127
    assert "executable file not found" in missing.stderr + missing.stdout


def test_logs_tail_and_follow(engine: Engine) -> None:
    engine.docker("run", "--name", "talk", "busybox", "sh", "-c", "seq 5; echo oops >&2")
    logs = engine.docker("logs", "talk")
    assert (logs.stdout, logs.stderr) == ("1\n2\n3\n4\n5\n", "oops\n")
    assert engine.docker("logs", "--tail", "1", "talk").stdout == ""
    assert engine.docker("logs", "-f", "-n", "3", "talk").stdout == "4\n5\n"
    assert engine.docker("logs", "-t", "talk").stdout.split("\n")[0].endswith("Z 1")


def test_stop_start_restart_kill(engine: Engine) -> None:
    trap = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    engine.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", trap)
    until_logged(engine, "up", 1)
    engine.docker("stop", "box")
    state = engine.get("/containers/box/json")["State"]
    assert isinstance(state, dict)
    assert (state["Status"], state["ExitCode"]) == ("exited", 3)
    engine.docker("start", "box")
    until_logged(engine, "up", 2)
    engine.docker("restart", "-t", "60", "box")
    until_logged(engine, "up", 3)
    assert engine.docker("logs", "box").stdout.count("bye") == 2
    engine.docker("kill", "box")
    assert engine.docker("wait", "box").stdout == "137\n"


def until_logged(engine: Engine, word: str, times: int) -> None:
    """Return when ``box`` has written a word so many times: then its handlers are set."""
    deadline = time.monotonic() + 60
    while engine.docker("logs", "box").stdout.count(word) < times:
        assert time.monotonic() < deadline, f"it did not write {word} {times} times"


def test_a_paused_container_stands_still(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "busybox", "sleep", "60")
    engine.docker("pause", "box")
    assert "(Paused)" in engine.docker("ps", "--format", "{{.Status}}").stdout
    refused = engine.docker("exec", "box", "true", check=False)
    assert "is paused" in refused.stderr
    engine.docker("unpause", "box")
    engine.docker("exec", "box", "true")


def test_conflicts_have_dockers_texts(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "busybox", "sleep", "60")
    again = engine.docker("run", "--name", "box", "busybox", check=False)
    assert again.returncode == 125
    assert 'The container name "/box" is already in use by container' in again.stderr
    removal = engine.docker("rm", "box", check=False)
    assert (
        "container is running: stop the container before removing or force remove" in removal.stderr
    )
    client = engine.client()
    with pytest.raises(NotModifiedError):
        client.post("/containers/box/start")
    with pytest.raises(NotFoundError, match="No such container: nosuch"):
        client.get("/containers/nosuch/json")
    with pytest.raises(ConflictError, match="unable to"):
        client.delete("/images/busybox")
    client.close()


def test_detached_rm_goes_by_itself(engine: Engine) -> None:
    engine.docker("run", "-d", "--rm", "--name", "brief", "busybox", "true")
    deadline = time.monotonic() + 60
    while engine.docker("ps", "-aq").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_events_tell_the_story(engine: Engine) -> None:
    engine.docker("run", "--rm", "--name", "story", "busybox", "true")
    # The client sends whole seconds, so "now" would leave the current second out.
    until = str(SYSTEM_CLOCK.time_ns() // 1_000_000_000 + 1)
    out = engine.docker(
        "events", "--since", "1h", "--until", until, "--filter", "container=story",
        "--format", "{{.Action}}",
    ).stdout.split()  # fmt: skip
    assert out == ["create", "attach", "start", "die", "destroy"]


def test_rename_and_filters(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "one", "--label", "tier=web", "busybox", "sleep", "60")
    engine.docker("rename", "one", "two")
    assert engine.docker("ps", "-q", "--filter", "label=tier=web", "--filter", "name=two").stdout
    assert engine.docker("ps", "-q", "--filter", "name=one").stdout == ""
    bad = engine.docker("ps", "--filter", "colour=red", check=False)
    assert "invalid filter 'colour'" in bad.stderr


def test_stats_and_top(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "--memory", "64m", "busybox", "sleep", "60")
    row = engine.docker(
        "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}", "box"
    )
    assert row.stdout.startswith("box ")
    assert row.stdout.rstrip().endswith("/ 64MiB 1")
    assert "sleep 60" in engine.docker("top", "box").stdout


def test_diff_shows_what_changed(engine: Engine) -> None:
    engine.docker("run", "--name", "box", "busybox", "sh", "-c", "echo x > /new; rm /etc/group")
    changes = engine.docker("diff", "box").stdout.splitlines()
    assert "A /new" in changes
    assert "D /etc/group" in changes


def test_hundreds_of_output_lines_arrive_in_order(engine: Engine) -> None:
    out = engine.docker("run", "--rm", "busybox", "seq", "20000").stdout
    assert out == "".join(f"{number}\n" for number in range(1, 20001))


def test_disk_usage_looks_at_no_layer(engine: Engine) -> None:
    """Sizes are on record since the layers were written: they are known with those out of reach."""
    engine.build("FROM busybox\nRUN echo 1 > /a\nRUN seq 9999 > /b\n", "layers")
    layers, away = engine.root / "data/snapshots", engine.root / "data/away"
    kinds = {"type": ["image", "build-cache"]}
    with contextlib.closing(engine.client()) as client:
        before = client.get("/system/df", kinds).object()
        layers.rename(away)
        try:
            during = client.get("/system/df", kinds).object()
        finally:
            away.rename(layers)
    assert during == before
    size = before["LayersSize"]
    assert isinstance(size, int)
    assert size > 48_889
    engine.docker("rmi", "layers")
