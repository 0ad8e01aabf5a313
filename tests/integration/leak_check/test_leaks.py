"""The leak check finds each kind of thing it looks for, and waits for what goes by itself."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kedge.lib.ids import new_id
from kedge.linux.mount import mount, umount
from tests.leaks import Leak, LeakDetector, describe

pytestmark = pytest.mark.integration


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def name() -> str:
    return f"kedge-{new_id()[:6]}"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def found(leaks: list[Leak], kind: str, text: str) -> Leak:
    (leak,) = [leak for leak in leaks if leak.kind == kind and text in leak.what]
    return leak


def test_nothing_is_no_difference(leak_detector: LeakDetector) -> None:
    before = leak_detector.snapshot()
    assert leak_detector.wait_until_gone(before) == []


@pytest.mark.parametrize("place", ["session", "test"])
def test_a_mount(
    leak_detector: LeakDetector, tmp_path: Path, place: str, cleanup: ExitStack
) -> None:
    point = tmp_path / "point"
    if place == "session":
        point = Path(tempfile.mkdtemp())
        cleanup.callback(os.rmdir, point)
    else:
        point.mkdir()
    before = leak_detector.snapshot()
    mount("tmpfs", str(point), "tmpfs")
    cleanup.callback(umount, str(point))
    assert found(leak_detector.differences(before), "mount", str(point)).is_ours


def test_a_link(leak_detector: LeakDetector, name: str, cleanup: ExitStack) -> None:
    if shutil.which("ip") is None:
        pytest.skip("the ip command is not installed")
    before = leak_detector.snapshot()
    run("ip", "link", "add", name, "type", "bridge")
    cleanup.callback(run, "ip", "link", "del", name)
    assert found(leak_detector.differences(before), "link", name)


def test_a_cgroup_but_not_the_common_parent(
    leak_detector: LeakDetector, name: str, cleanup: ExitStack
) -> None:
    (root,) = [
        path
        for path in ("/sys/fs/cgroup", "/sys/fs/cgroup/pids")
        if os.path.exists(f"{path}/cgroup.procs")
    ][:1]
    parent = Path(root, "kedge")
    if not parent.exists():
        parent.mkdir()
        cleanup.callback(parent.rmdir)
    before = leak_detector.snapshot()
    for directory in (parent / name, Path(root, name)):
        directory.mkdir()
        cleanup.callback(directory.rmdir)
        assert found(leak_detector.differences(before), "cgroup", str(directory))


def test_a_table_and_a_change_of_a_foreign_one(
    leak_detector: LeakDetector, name: str, cleanup: ExitStack
) -> None:
    if shutil.which("nft") is None:
        pytest.skip("the nft command is not installed")
    foreign = name.replace("kedge", "other")
    before = leak_detector.snapshot()
    for table in (name, foreign):
        run("nft", "add", "table", "inet", table)
        cleanup.callback(run, "nft", "delete", "table", "inet", table)
        assert found(leak_detector.differences(before), "nft table", f"inet {table}")
    before = leak_detector.snapshot()
    run("nft", "add", "chain", "inet", name, "mine")
    run("nft", "add", "chain", "inet", foreign, "mine")
    kinds = {(leak.kind, leak.what) for leak in leak_detector.differences(before)}
    assert ("change of nft table", f"inet {foreign}") in kinds
    assert ("change of nft table", f"inet {name}") not in kinds


def test_an_orphan_and_its_socket(leak_detector: LeakDetector, cleanup: ExitStack) -> None:
    code = """
import os, socket, sys
if os.fork() == 0:
    os.setsid()
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{os.getpid()} {listener.getsockname()[1]}\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""
    before = leak_detector.snapshot()
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", code], stdin=reader, stdout=subprocess.PIPE, text=True
    )
    os.close(reader)
    assert child.stdout is not None
    pid, port = child.stdout.readline().split()
    child.wait()
    leaks = leak_detector.differences(before)
    os.close(writer)
    child.stdout.close()
    assert found(leaks, "process", pid).is_ours
    assert found(leaks, "listening socket", f":{port}").is_ours
    assert leak_detector.wait_until_gone(before) == [], "it goes when its input ends"


def test_an_engine_that_dropped_its_environment(leak_detector: LeakDetector) -> None:
    before = leak_detector.snapshot()
    reader, writer = os.pipe()
    code = "import os, sys\nif os.fork() == 0: print(os.getpid(), flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", code, "kedge.daemon"],
        stdin=reader,
        stdout=subprocess.PIPE,
        text=True,
        env={},
    )
    os.close(reader)
    assert child.stdout is not None
    pid = child.stdout.readline().strip()
    child.wait()
    leaks = leak_detector.differences(before)
    os.close(writer)
    child.stdout.close()
    assert not found(leaks, "process", pid).is_ours
    assert leak_detector.wait_until_gone(before) == []


def test_a_socket_of_our_own(leak_detector: LeakDetector) -> None:
    before = leak_detector.snapshot()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert found(leak_detector.differences(before), "listening socket", f":{port}").is_ours


def test_a_file_is_waited_for(leak_detector: LeakDetector) -> None:
    before = leak_detector.snapshot()
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    assert found(leak_detector.differences(before), "file", path).is_ours
    assert describe(leak_detector.wait_until_gone(before, within_s=0)) == (
        f"left behind: file {path}"
    )
    timer = threading.Timer(0.05, os.unlink, [path])
    timer.start()
    assert leak_detector.wait_until_gone(before) == []
    timer.join()
