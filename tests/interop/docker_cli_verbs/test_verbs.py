"""Everyday verbs of the official docker CLI."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.engine import DOCKER, Engine
from tests.integration.engine_crash.truth import until

pytestmark = pytest.mark.interop

DOCKERFILE = """\
FROM busybox AS base
ARG WHO=world
LABEL from=file
RUN echo hello $WHO > /greeting
FROM base AS test
RUN echo tested > /tested
FROM base
ENV MODE=final
EXPOSE 80
CMD ["cat", "/greeting"]
"""


def build(engine: Engine, *flags: str) -> "subprocess.CompletedProcess[str]":
    return engine.docker("build", *flags, "-", text=DOCKERFILE)


def test_logs_follow_a_running_container(engine: Engine) -> None:
    go = engine.root / "go"
    go.mkdir()
    script = "echo one; while [ ! -e /go/on ]; do sleep 0.05; done; echo two; exit 2"
    engine.docker("run", "-d", "--name", "box", "-v", f"{go}:/go", "busybox", "sh", "-c", script)
    assert DOCKER is not None
    with subprocess.Popen(
        [DOCKER, "-H", engine.host, "logs", "-f", "box"], stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "one\n"
        (go / "on").touch()
        assert follower.stdout.read() == "two\n"
        assert follower.wait() == 0


def test_stop_start_restart(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    assert engine.docker("stop", "-t", "0", "box").stdout == "box\n"
    template = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}} {{.Config.Image}}"
    assert engine.docker("inspect", "-f", template, "box").stdout == "exited 137 0 busybox\n"
    engine.docker("start", "box")
    engine.docker("restart", "-t", "0", "box")
    assert engine.docker("inspect", "-f", "{{.State.Running}}", "box").stdout == "true\n"
    whole = json.loads(engine.docker("inspect", "box").stdout)
    assert whole[0]["Name"] == "/box"


def test_ps_filters(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "up", "--label", "tier=web", "busybox", "sleep", "600")
    engine.docker("run", "--name", "down", "busybox", "sh", "-c", "exit 3", check=False)
    engine.docker("create", "--name", "new", "busybox")
    for filters, names in (
        (["status=running"], ["up"]),
        (["status=exited"], ["down"]),
        (["status=created"], ["new"]),
        (["exited=3"], ["down"]),
        (["label=tier"], ["up"]),
        (["label=tier=db"], []),
        (["name=^u"], ["up"]),
        (["ancestor=busybox", "status=created"], ["new"]),
        (["since=up"], ["new", "down"]),
        (["before=new"], ["down", "up"]),
        (["network=bridge", "status=running"], ["up"]),
    ):
        flags = [word for item in filters for word in ("--filter", item)]
        found = engine.docker("ps", "-a", *flags, "--format", "{{.Names}}").stdout.split()
        assert found == names, filters
    assert engine.docker("ps", "-lq").stdout.count("\n") == 1


def test_build_arguments_targets_and_labels(engine: Engine) -> None:
    words = ("--build-arg", "WHO=kedge", "--label", "by=flag")
    said = build(engine, "-t", "app:1", *words).stdout
    assert " : LABEL by=flag\n" in said
    assert re.findall(r"---> (\w+)$", said, re.MULTILINE)[-1] in said.split("Successfully built")[1]
    assert engine.docker("run", "--rm", "app:1").stdout == "hello kedge\n"
    labels = json.loads(engine.docker("inspect", "-f", "{{json .Config.Labels}}", "app:1").stdout)
    assert labels == {"from": "file", "by": "flag"}
    build(engine, "-t", "tested", "--target", "test")
    assert engine.docker("run", "--rm", "tested", "cat", "/tested").stdout == "tested\n"


def test_quiet_builds_and_the_id_file(engine: Engine) -> None:
    quiet = build(engine, "-q").stdout
    assert quiet.startswith("sha256:")
    id_file = engine.root / "id"
    build(engine, "--iidfile", str(id_file))
    assert id_file.read_text() == quiet.strip()
    shown = engine.docker("inspect", "-f", "{{.Id}}", quiet.strip()[7:19]).stdout
    assert shown == quiet


def test_a_context_with_an_ignore_file(engine: Engine) -> None:
    context = engine.root / "context"
    Path(context, "sub").mkdir(parents=True)
    for name, text in (
        ("Dockerfile.other", "FROM busybox\nCOPY . /data/\nRUN ls /data /data/sub\n"),
        (".dockerignore", "*.log\n!sub/kept.log\n"),
        ("seen", ""), ("no.log", ""), ("sub/kept.log", ""),
    ):  # fmt: skip
        (context / name).write_text(text)
    flags = ("-f", str(context / "Dockerfile.other"), "-t", "app")
    engine.docker("build", *flags, str(context))
    found = engine.docker("run", "--rm", "app", "sh", "-c", "cd /data; find . -type f").stdout
    assert "./seen" in found
    assert "./sub/kept.log" in found
    assert "no.log" not in found
    (context / "seen").touch()
    assert engine.docker("build", *flags, str(context)).stdout.count("Using cache") == 2
    (context / "seen").write_text("edited")
    assert "Using cache" not in engine.docker("build", *flags, str(context)).stdout


def test_tags_and_removal(engine: Engine) -> None:
    engine.docker("tag", "busybox", "example.com:5000/team/box:v1")
    listed = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    assert sorted(listed) == ["busybox:latest", "example.com:5000/team/box:v1"]
    untagged = engine.docker("rmi", "example.com:5000/team/box:v1").stdout
    assert untagged == "Untagged: example.com:5000/team/box:v1\n"
    engine.docker("create", "--name", "box", "busybox")
    refused = engine.docker("rmi", "busybox", check=False)
    assert refused.returncode == 1
    assert "conflict" in refused.stderr
    engine.docker("rm", "box")
    assert "Deleted: sha256:" in engine.docker("rmi", "busybox").stdout
    assert engine.docker("images", "-q").stdout == ""


def test_image_filters_and_history(engine: Engine) -> None:
    build(engine, "-t", "app")
    build(engine, "-t", "app", "--build-arg", "WHO=other")
    for value, count in (
        ("dangling=true", 1), ("dangling=false", 2), ("label=from=file", 2), ("reference=ap*", 1),
        ("before=app", 2), ("since=busybox", 2), ("reference=nosuch", 0),
    ):  # fmt: skip
        found = engine.docker("images", "-q", "--filter", value).stdout.split()
        assert len(found) == count, (value, found)
    steps = engine.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", "app").stdout
    assert "echo hello" in steps
    assert 'CMD ["cat" "/greeting"]' in steps


def test_events_tell_what_happened_while_it_happens(engine: Engine) -> None:
    assert DOCKER is not None
    with subprocess.Popen(
        [
            DOCKER, "-H", engine.host, "events", "--filter", "type=container",
            "--filter", "event=die", "--format", "{{.Actor.Attributes.exitCode}}",
        ],
        stdout=subprocess.PIPE, text=True,
    ) as watcher:  # fmt: skip
        assert watcher.stdout is not None
        # Until the subscription stands, nobody can tell; so run until one is told of.
        until(lambda: engine.docker("info").returncode == 0, "the engine answers")
        with subprocess.Popen(
            [
                "/bin/sh", "-c",
                f"while :; do {DOCKER} -H {engine.host} run --rm busybox sh -c 'exit 4'; done",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as runner:  # fmt: skip
            assert watcher.stdout.readline() == "4\n"
            runner.kill()
        watcher.terminate()
        watcher.wait()
    until(lambda: not engine.docker("ps", "-aq").stdout, "the last one is gone")
