"""Containers of a user namespace that share one of their namespaces, and exec in them."""

from collections.abc import Iterator

import pytest

from kedge.engine.userns import DEFAULT_FIRST_ID
from tests.engine import Engine
from tests.integration.isolation.conftest import inside

pytestmark = pytest.mark.integration


@pytest.fixture
def donor(remapped: Engine) -> Iterator[str]:
    remapped.docker(
        "run", "-d", "--name", "donor", "--ipc", "shareable", "-v", "kept:/kept", "busybox",
        "sh", "-c", "echo hi > /dev/shm/x; exec sleep 600",
    )  # fmt: skip
    yield "donor"
    remapped.docker("rm", "-f", "donor")
    remapped.docker("volume", "rm", "kept")


def test_processes_network_and_memory_of_another(remapped: Engine, donor: str) -> None:
    script = "readlink /proc/self/ns/{}; cut -c1-30 /proc/self/uid_map"
    for flag, kind, look, expected in (
        ("--pid", "pid", "tr '\\0' ' ' < /proc/1/cmdline", "sleep 600 "),
        ("--network", "net", "ls /sys/class/net", "eth0\nlo\n"),
        ("--ipc", "ipc", "cat /dev/shm/x", "hi\n"),
    ):
        wanted = remapped.docker("exec", donor, "sh", "-c", script.format(kind)).stdout
        assert str(DEFAULT_FIRST_ID) in wanted
        flags = (flag, f"container:{donor}")
        assert inside(remapped, script.format(kind), *flags) == wanted
        assert inside(remapped, look, *flags) == expected


def test_a_session_has_the_containers_ids(remapped: Engine, donor: str) -> None:
    script = "id -u; touch /kept/$(id -u); stat -c %u /kept/$(id -u); cat /proc/self/uid_map"
    remapped.docker("exec", donor, "chmod", "777", "/kept")
    for user in ("0", "100"):
        done = remapped.docker("exec", "-u", user, donor, "sh", "-c", script)
        assert done.stdout.split() == [user, user, "0", str(DEFAULT_FIRST_ID), "65536"]
    kept = remapped.root / "data/volumes/kept/_data"
    assert {file.name: file.stat().st_uid for file in kept.iterdir()} == {"0": 0, "100": 100}


def test_others_processes_cannot_be_looked_into(each: Engine) -> None:
    """Root of a container that shares processes has no right over those of another user."""
    each.docker("run", "-d", "--name", "donor", "busybox", "sleep", "600")
    try:
        script = "cat /proc/1/environ > /dev/null && echo own; kill -0 1 && echo seen"
        assert inside(each, script, "--pid", "container:donor") == "own\nseen\n"
        script = "cat /proc/1/environ 2>&1; ls /proc/1/root/ 2>&1; kill -0 1 2>&1; true"
        lines = inside(each, script, "--pid", "container:donor", "--user", "100").splitlines()
        assert len(lines) == 3
        assert [line for line in lines if not line.endswith(("denied", "permitted"))] == []
    finally:
        each.docker("rm", "-f", "donor")
