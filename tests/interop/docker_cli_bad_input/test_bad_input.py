"""Wrong commands through the official CLI: Docker's exit codes, one line each, nothing left."""

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.interop

NO_REGISTRY = "127.0.0.1:1"
"""Nothing listens on port 1, so this is refused at once, on any host."""


def failure(engine: Engine, *words: str) -> tuple[int, str]:
    """Return the exit code and the only line that says why."""
    done = engine.docker(*words, check=False)
    noise = ("Unable to find image", "Run 'docker ", "latest: Pulling from")
    lines = [
        line.removeprefix("docker: ").removeprefix("Error response from daemon: ")
        for line in done.stderr.splitlines()
        if line.strip() and not line.startswith(noise)
    ]
    assert len(lines) == 1, done.stderr
    return done.returncode, lines[0]


def test_run_refuses_in_one_line_and_leaves_nothing(engine: Engine) -> None:
    for flags, code, text in (
        ([f"{NO_REGISTRY}/app"], 125, f"cannot reach registry {NO_REGISTRY}: connection refused"),
        (["--pull=never", "busybox:v9"], 125, "No such image: busybox:v9"),
        (["UPPER"], 125, "repository name (library/UPPER) must be lowercase"),
        (["busybox:bad:tag"], 125, "invalid reference format"),
        (["--name=-bad", "busybox"], 125, "Invalid container name (-bad), only [a-zA-Z0-9]"),
        (["--platform=a/b/c/d/e", "busybox"], 125, "a/b/c/d/e"),
        (["busybox", "nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH'),
        (["busybox", "/nosuch"], 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        (["busybox", "/etc"], 126, 'exec: "/etc": is a directory'),
        (["busybox", "/proc/version"], 126, 'exec: "/proc/version": permission denied'),
        (["-w", "relative", "busybox"], 125, "it needs to be an absolute path"),
        (["-w", "/etc/passwd", "busybox"], 125, '("/etc/passwd")'),
        (["-u", "who", "busybox"], 125, "unable to find user who: no matching entries in passwd"),
        (["-u", "0:who", "busybox"], 125, "unable to find group who: no matching entries"),
        (["--network=nosuch", "busybox"], 125, "network nosuch not found"),
        (["--network=container:nosuch", "busybox"], 125, "No such container: nosuch"),
        (["--ip=203.0.113.9", "busybox"], 125, "supported on user defined networks only"),
        (["-m", "1k", "busybox"], 125, "Minimum memory limit allowed is 6MB"),
        (["-v", "/nosuch:/x:odd", "busybox"], 125, "invalid mode: odd"),
        (["--mount=type=bind,src=/nosuch,dst=/x", "busybox"], 125, "does not exist: /nosuch"),
        (["--cap-add=NOSUCH", "busybox"], 125, 'unknown capability: "CAP_NOSUCH"'),
        (["--security-opt=seccomp=/nosuch", "busybox"], 125, "/nosuch"),
        (["--log-driver=nosuch", "busybox"], 125, "no log driver named 'nosuch'"),
        (["--stop-signal=NOSIG", "busybox"], 125, "NOSIG"),
    ):
        found = failure(engine, "run", "--rm", *flags)
        assert found[0] == code, (flags, found)
        assert text in found[1], (flags, found)
    assert engine.docker("ps", "-aq").stdout == ""
    assert engine.docker("images", "--format", "{{.Repository}}").stdout == "busybox\n"


def test_without_rm_a_failed_start_leaves_a_created_container(engine: Engine) -> None:
    assert failure(engine, "run", "--name", "box", "busybox", "nosuch")[0] == 127
    shown = engine.docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "box")
    assert shown.stdout == "created 127\n"
    assert "executable file not found" in engine.docker("inspect", "box").stdout
    engine.docker("rm", "box")


def test_a_missing_working_directory_is_made_as_docker_does(engine: Engine) -> None:
    assert engine.docker("run", "--rm", "-w", "/a/b", "busybox", "pwd").stdout == "/a/b\n"


def test_a_name_that_is_taken_and_one_that_is_free_again(engine: Engine) -> None:
    engine.docker("create", "--name", "box", "busybox")
    code, text = failure(engine, "run", "--name", "box", "busybox")
    assert code == 125
    assert text.startswith('Conflict. The container name "/box" is already in use by container')
    engine.docker("rm", "box")
    engine.docker("run", "--rm", "--name", "box", "busybox", "true")


def test_a_taken_port_names_the_container_that_has_it(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "holder", "-p", "127.0.0.1::80", "busybox", "sleep", "600")
    port = engine.docker("port", "holder", "80").stdout.strip().rpartition(":")[2]
    code, text = failure(engine, "run", "--rm", "-p", f"127.0.0.1:{port}:80", "busybox", "true")
    assert code == 125
    assert port in text
    assert "holder" in text
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").stdout == "holder\n"


def test_a_container_that_ends_at_once(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "quick", "busybox", "sh", "-c", "echo why >&2; exit 3")
    assert engine.docker("wait", "quick").stdout == "3\n"
    assert "Exited (3)" in engine.docker("ps", "-a", "--format", "{{.Status}}").stdout
    assert engine.docker("logs", "quick").stderr == "why\n"
    code, text = failure(engine, "exec", "quick", "true")
    assert code == 1
    assert text.endswith("is not running")
    assert failure(engine, "kill", "quick")[0] == 1
    assert engine.docker("start", "-a", "quick", check=False).returncode == 3


def test_exec_has_dockers_exit_codes(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "up", "busybox", "sleep", "600")
    for words, code, text in (
        (["up", "nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH'),
        (["up", "/etc"], 126, "is a directory"),
        (["up", "/proc/version"], 126, "permission denied"),
        (["up", "/etc/passwd"], 126, "exec format error"),
        (["-w", "/nosuch", "up", "pwd"], 127, '"/nosuch"'),
        (["-u", "who", "up", "true"], 126, "unable to find user who"),
        (["nosuch", "true"], 1, "No such container: nosuch"),
    ):
        found = failure(engine, "exec", *words)
        assert found[0] == code, (words, found)
        assert text in found[1], (words, found)


def test_objects_that_are_not_there(engine: Engine) -> None:
    for words in (
        ["stop"], ["rm"], ["logs"], ["port"], ["wait"], ["kill"], ["restart"], ["top"], ["stats"],
    ):  # fmt: skip
        code, text = failure(engine, *words, "nosuch")
        assert code == 1, words
        assert "No such container: nosuch" in text, words
    for words in (["rmi", "nosuch"], ["tag", "nosuch", "x"], ["history", "nosuch"]):
        code, text = failure(engine, *words)
        assert code == 1, words
        assert "No such image: nosuch" in text, words
    engine.docker("create", "--name", "box", "busybox")
    assert "NOSIG" in failure(engine, "kill", "-s", "NOSIG", "box")[1]
    assert engine.docker("rm", "box").stdout == "box\n"
