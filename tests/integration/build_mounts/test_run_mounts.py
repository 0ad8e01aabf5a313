"""``RUN --mount`` in real containers: what a step sees, and that nothing of it stays."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.integration


def build(
    engine: Engine, folder: Path, dockerfile: str, *flags: str, check: bool = True
) -> "subprocess.CompletedProcess[str]":
    (folder / "Dockerfile").write_text(dockerfile)
    return engine.kedge("build", "--progress", "plain", *flags, str(folder), check=check)


def said(engine: Engine, image: str, command: str) -> str:
    return engine.docker("run", "--rm", image, "sh", "-c", f"{command}; true").stdout


def test_a_bind_shows_files_and_discards_writes(shared_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "src/sub").mkdir(parents=True)
    (tmp_path / "src/sub/a.txt").write_text("one")
    file = (
        "FROM busybox AS made\nRUN mkdir /out && echo stage > /out/s\n"
        "FROM busybox\nWORKDIR /w\n"
        "RUN --mount=source=src,target=/in --mount=from=made,src=/out,dst=out,rw "
        "cat /in/sub/a.txt out/s > /seen && echo x > out/more "
        "&& ! touch /in/new 2>/dev/null\n"
    )
    build(shared_engine, tmp_path, file, "-t", "bound")
    assert said(shared_engine, "bound", "cat /seen; ls /w; ls -d /in 2>&1") == (
        "onestage\nls: /in: No such file or directory\n"
    )
    assert build(shared_engine, tmp_path, file).stdout.count("Using cache") == 3
    (tmp_path / "src/sub/a.txt").write_text("two")
    build(shared_engine, tmp_path, file, "-t", "bound")
    assert said(shared_engine, "bound", "cat /seen") == "twostage\n"


def test_a_cache_survives_builds_and_is_pruned(shared_engine: Engine, tmp_path: Path) -> None:
    file = (
        "FROM busybox\nARG N\n"
        "RUN --mount=type=cache,target=/c,id=counting,mode=0700,uid=100,sharing=locked "
        "echo $N >> /c/n && cat /c/n > /n && stat -c '%a %u' /c > /owner\n"
    )
    build(shared_engine, tmp_path, file, "--build-arg", "N=1")
    build(shared_engine, tmp_path, file, "--build-arg", "N=2", "-t", "counted")
    assert said(shared_engine, "counted", "cat /n /owner; ls -A /c 2>/dev/null") == (
        "1\n2\n700 100\n"
    )
    listed = shared_engine.get("/system/df")["BuildCache"]
    assert "cache mount counting" in str(listed)
    shared_engine.kedge("builder", "prune", "-f")
    assert shared_engine.get("/system/df")["BuildCache"] in (None, [])
    assert os.listdir(shared_engine.root / "data/build-caches") == []


def test_a_private_cache_is_not_shared(shared_engine: Engine, tmp_path: Path) -> None:
    file = (
        "FROM busybox\n"
        "RUN --mount=type=cache,target=/c,id=p,sharing=private "
        "--mount=type=cache,target=/d,id=p,sharing=private touch /c/x && ls -A /d > /n\n"
    )
    build(shared_engine, tmp_path, file, "-t", "private")
    assert said(shared_engine, "private", "cat /n") == ""


def test_a_secret_leaves_no_trace(shared_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush-4711")
    file = (
        "FROM busybox\n"
        "RUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN "
        "--mount=type=secret,id=token,target=/t,mode=0440,gid=101 "
        "grep -q ^hush-47..$ /run/secrets/token && echo $TOKEN | grep -q ^hush-47..$ "
        "&& stat -c '%a %g' /t > /ok\n"
    )
    folder = tmp_path / "context"
    folder.mkdir()
    secret = ("--secret", f"id=token,src={tmp_path / 'token'}")
    build(shared_engine, folder, file, *secret, "-t", "secretive")
    assert said(shared_engine, "secretive", "cat /ok; ls -A /run /t 2>/dev/null") == "440 101\n"
    found = subprocess.run(
        ["grep", "-rl", "hush-4711", str(shared_engine.root)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout == ""
    (tmp_path / "token").write_text("hush-4712")
    assert "Using cache" in build(shared_engine, folder, file, *secret).stdout


def test_a_required_secret_that_is_missing(shared_engine: Engine, tmp_path: Path) -> None:
    file = "FROM busybox\nRUN --mount=type=secret,id=npm,required true\n"
    (tmp_path / "Dockerfile").write_text(file)
    done = shared_engine.docker("build", str(tmp_path), check=False)
    assert done.returncode == 1
    assert "secret npm: not found: give it with kedge build --secret id=npm" in done.stderr
    done = build(shared_engine, tmp_path, file, "--secret", "id=npm,src=/nosuch", check=False)
    assert "cannot read /nosuch" in done.stderr
    shared_engine.docker("build", "-q", "-", text=file.replace(",required", ""))


def test_an_agent_is_lent(shared_engine: Engine, tmp_path: Path) -> None:
    file = (
        "FROM busybox\n"
        "RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo $SSH_AUTH_SOCK > /where\n"
    )
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        agent.listen()
        build(shared_engine, tmp_path, file, "--ssh", f"default={path}", "-t", "lent")
    assert (
        said(shared_engine, "lent", "cat /where; ls -A /run 2>/dev/null")
        == "/run/buildkit/ssh_agent.0\n"
    )


def test_a_tmpfs_is_gone_afterwards(shared_engine: Engine, tmp_path: Path) -> None:
    file = (
        "FROM busybox\n"
        "RUN --mount=type=tmpfs,target=/t,size=1m touch /t/x && df -m /t | tail -1 > /df\n"
    )
    build(shared_engine, tmp_path, file, "-t", "tmpfs")
    assert said(shared_engine, "tmpfs", "ls -d /t 2>/dev/null; cut -c1-5 /df") == "tmpfs\n"


@pytest.mark.parametrize(
    ("mount", "reason"),
    [
        ("source=nosuch,target=/x", "stat nosuch: file does not exist"),
        ("from=nobody.invalid/x,target=/x", "nobody.invalid"),
        ("type=ssh,uid=1", "mode, uid and gid are not supported"),
        ("type=cache,target=.", "invalid mount target"),
    ],
)
def test_what_cannot_be_mounted_is_said(
    shared_engine: Engine, tmp_path: Path, mount: str, reason: str
) -> None:
    file = f"FROM busybox\nRUN --mount={mount} true\n"
    done = build(shared_engine, tmp_path, file, check=False)
    assert done.returncode == 1
    assert reason in done.stderr
