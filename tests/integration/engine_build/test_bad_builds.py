"""Builds that fail: one line that says where and why, and an engine that goes on."""

import contextlib
import io
import socket
import tarfile
from pathlib import Path

import pytest

from kedge.errdefs import KedgeError
from tests.engine import Engine, busybox_context, make_tar
from tests.integration.engine_crash.truth import assert_true, until

pytestmark = pytest.mark.integration


def write_context(engine: Engine, files: dict[str, str]) -> str:
    context = engine.root / "context"
    context.mkdir(exist_ok=True)
    for path in context.iterdir():
        path.unlink()
    for name, text in files.items():
        (context / name).write_text(text)
    return str(context)


def build(engine: Engine, files: dict[str, str], *flags: str) -> tuple[int, str, str]:
    """Return exit code, output and the last line of the failure."""
    done = engine.docker("build", *flags, write_context(engine, files), check=False)
    _, _, told = done.stderr.partition("environment-variable.\n")
    lines = [line for line in told.splitlines() if line.strip()]
    assert len(lines) <= 1, done.stderr
    return done.returncode, done.stdout, "".join(lines)


def test_a_failure_is_one_line(engine: Engine) -> None:
    for dockerfile, code, text in (
        ("FROM busybox\nFROBNICATE x\n", 1, "line 2: unknown instruction: FROBNICATE"),
        ("FROM busybox\n\nENV\n", 1, "line 3: ENV requires at least one argument"),
        ("RUN true\n", 1, "line 1: no build stage in current context"),
        ("", 1, "the Dockerfile cannot be empty"),
        ("FROM a b\n", 1, "line 1: FROM requires either one or three arguments"),
        ("FROM 127.0.0.1:1/app\n", 1, "cannot reach registry 127.0.0.1:1: connection refused"),
        ("FROM UPPER/x:y:z\n", 1, "invalid reference format"),
        ("FROM busybox\nCOPY nosuch /x\n", 1, "stat nosuch: file does not exist"),
        ("FROM busybox\nCOPY ../x /x\n", 1, "stat ../x: file does not exist"),
        ("FROM busybox\nCOPY --from=busybox /nosuch /x\n", 1, "nosuch"),
        ("FROM busybox\nCOPY --from=127.0.0.1:1/zzz /x /y\n", 1, "127.0.0.1:1"),
        ("FROM busybox\nCOPY --chown=who Dockerfile /x\n", 1, "unable to find user who"),
        ("FROM busybox\nUSER who\nRUN id\n", 1, "unable to find user who"),
        ('FROM busybox\nRUN ["nosuch"]\n', 1, "executable file not found in $PATH"),
        ("FROM busybox\nRUN nosuch\n", 127, "returned a non-zero code: 127"),
    ):
        found = build(engine, {"Dockerfile": dockerfile})
        assert found[0] == code, found
        assert text in found[2], found
        assert_true(engine)


def test_a_target_that_is_none(engine: Engine) -> None:
    found = build(engine, {"Dockerfile": "FROM busybox\n"}, "--target", "nosuch")
    assert (found[0], "nosuch" in found[2]) == (1, True)


def test_a_failing_step_keeps_the_layers_before_it(engine: Engine) -> None:
    text = "FROM busybox\nRUN echo one > /one\nRUN test -e /one && exit {}\nRUN cat /one\n"
    code, _, told = build(engine, {"Dockerfile": text.format(7)}, "-t", "app")
    assert (code, told[-2:]) == (7, " 7")
    assert engine.docker("images", "-q", "app").stdout == ""
    code, out, _ = build(engine, {"Dockerfile": text.format(0)}, "-t", "app")
    assert code == 0
    assert out.count("Using cache") == 1
    assert engine.docker("run", "--rm", "app", "cat", "/one").stdout == "one\n"
    assert_true(engine)


def error_of(engine: Engine, context: bytes, **options: str) -> str:
    """Send a context as it is; return the failure's text."""
    with contextlib.closing(engine.client()) as client:
        try:
            response = client.request(
                "POST", "/build", dict(options), body=context, content_type="application/x-tar"
            )
            messages = list(response.messages())
        except KedgeError as error:
            return str(error)
    return "".join(str(message.get("error", "")) for message in messages)


def test_a_bad_ignore_file_is_named(engine: Engine) -> None:
    context = make_tar({"Dockerfile": b"FROM busybox\nCOPY . /x\n", ".dockerignore": b"a\n[\n"})
    told = error_of(engine, context)
    assert ".dockerignore" in told
    assert "\n" not in told


def test_hostile_contexts_write_nothing_outside(engine: Engine) -> None:
    outside = engine.root / "outside"
    dockerfile = b"FROM busybox\nCOPY . /x/\n"
    for files, links in (
        ({"../outside": b"no"}, {}),
        ({f"{'../' * 12}{str(outside)[1:]}": b"no"}, {}),
        ({str(outside): b"no"}, {}),
        ({"d/outside": b"no"}, {"d": str(engine.root)}),
    ):
        # The link comes before the file that would go through it.
        context = _join(make_tar({"Dockerfile": dockerfile}, links), make_tar(files))
        told = error_of(engine, context)
        assert "\n" not in told
        assert not outside.exists()
    assert_true(engine)


def _join(*archives: bytes) -> bytes:
    """Return one archive with the members of all."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as joined:
        for archive in archives:
            with tarfile.open(fileobj=io.BytesIO(archive)) as part:
                for member in part:
                    joined.addfile(member, part.extractfile(member) if member.isreg() else None)
    return buffer.getvalue()


def test_a_link_in_the_context_leads_nowhere(engine: Engine) -> None:
    context = make_tar(
        {"Dockerfile": b"FROM busybox\nCOPY secret /secret\n"}, {"secret": "/etc/hostname"}
    )
    told = error_of(engine, context)
    assert "secret" in told


def test_a_truncated_context(engine: Engine) -> None:
    context = busybox_context()
    told = error_of(engine, context[: len(context) // 2])
    assert told
    assert "\n" not in told
    assert "context" in error_of(engine, b"this is no archive " * 100)
    assert_true(engine)


def begin_build(engine: Engine, dockerfile: str) -> socket.socket:
    """Send a build request and leave the connection open."""
    context = make_tar({"Dockerfile": dockerfile.encode()})
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(engine.socket))
    head = f"POST /v1.51/build?t=app HTTP/1.1\r\nHost: d\r\nContent-Length: {len(context)}\r\n\r\n"
    connection.sendall(head.encode() + context)
    return connection


def step_pid(engine: Engine) -> int:
    """Return the pid of the step's sleep, or 0."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            inside = Path(path.parent / "mountinfo").read_text()
            if path.read_bytes() == b"sleep\x00987\x00" and str(engine.root) in inside:
                return int(path.parent.name)
    return 0


SLOW = "FROM busybox\nRUN echo kept > /kept\nRUN sleep 987\n"


def test_a_client_that_vanishes_ends_the_step(engine: Engine) -> None:
    connection = begin_build(engine, SLOW)
    until(lambda: step_pid(engine), "the step runs")
    connection.close()
    until(lambda: not step_pid(engine), "the step is dead")
    assert_true(engine)
    assert "Using cache" in engine.build(SLOW.replace("sleep 987", "true"), "app")


def test_an_engine_killed_in_mid_build(engine: Engine) -> None:
    with begin_build(engine, SLOW):
        until(lambda: step_pid(engine), "the step runs")
        engine.kill()
    engine.start()
    until(lambda: not step_pid(engine), "the step is dead")
    assert_true(engine)
    assert engine.docker("images", "-q", "app").stdout == ""
    assert "Using cache" in engine.build(SLOW.replace("sleep 987", "true"), "app")
    assert engine.docker("run", "--rm", "app", "cat", "/kept").stdout == "kept\n"


def test_an_engine_stopped_in_mid_build(engine: Engine) -> None:
    with begin_build(engine, SLOW):
        until(lambda: step_pid(engine), "the step runs")
        assert engine.terminate() == 0
    assert not step_pid(engine)
    engine.start()
    assert_true(engine)
