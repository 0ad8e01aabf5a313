"""What versions 1.1 to 1.3 of the specification added, looked at from inside."""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kedge.errdefs import UnavailableError
from kedge.lib.jsontypes import JsonObject
from kedge.runtime.container import Created
from tests.integration.runtime_container.command import Command
from tests.integration.runtime_container.conftest import Run

pytestmark = pytest.mark.integration

Spec = Callable[[str], JsonObject]

# linux/seccomp.h
NOTIF_RECV = 0xC0502100
NOTIF_SEND = 0xC0182101
NOTIF_SIZE = 80
EXDEV = 18


def linux_of(document: JsonObject) -> JsonObject:
    linux = document["linux"]
    assert isinstance(linux, dict)
    return linux


def test_a_memory_policy(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("cat /proc/self/numa_maps")
    linux_of(document)["memoryPolicy"] = {
        "mode": "MPOL_BIND",
        "nodes": "0",
        "flags": ["MPOL_F_STATIC_NODES"],
    }
    assert "bind=static:0" in run(document).output


def test_offsets_of_a_time_namespace(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("cat /proc/uptime")
    namespaces = linux_of(document)["namespaces"]
    assert isinstance(namespaces, list)
    namespaces.append({"type": "time"})
    linux_of(document)["timeOffsets"] = {"boottime": {"secs": 10_000_000}}
    assert float(run(document).output.split()[0]) > 10_000_000


def notifying(document: JsonObject, agent: Path) -> None:
    linux_of(document)["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(agent),
        "listenerMetadata": "for the agent",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    }


def answer(listener: int, error: int) -> None:
    """Answer the next notified call with ``error``."""
    notification = bytearray(NOTIF_SIZE)
    fcntl.ioctl(listener, NOTIF_RECV, notification)
    (identifier,) = struct.unpack_from("=Q", notification)
    fcntl.ioctl(listener, NOTIF_SEND, struct.pack("=QqiI", identifier, 0, -error, 0))


def test_an_agent_answers_for_notified_calls(run: Run, shell_spec: Spec, tmp_path: Path) -> None:
    document = shell_spec("mkdir /new")
    notifying(document, tmp_path / "agent")
    told: list[JsonObject] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "agent"))
        listening.listen(1)

        def meanwhile(_created: Created) -> None:
            connection, _address = listening.accept()
            with connection:
                data, fds, _flags, _from = socket.recv_fds(connection, 65536, 4)
                assert connection.recv(1) == b""
            told.append(json.loads(data))
            answer(fds[0], EXDEV)
            os.close(fds[0])

        result = run(document, meanwhile=meanwhile)
    assert "cross-device link" in result.output.lower()
    assert told[0]["fds"] == ["seccompFd"]
    assert told[0]["metadata"] == "for the agent"
    state = told[0]["state"]
    assert isinstance(state, dict)
    assert (state["id"], state["pid"]) == ("test", told[0]["pid"])


def test_without_its_agent_the_container_ends(
    run: Run, command: Command, shell_spec: Spec, tmp_path: Path
) -> None:
    document = shell_spec("exec sleep 60")
    notifying(document, tmp_path / "nobody")
    with pytest.raises(UnavailableError, match=r"seccomp agent at .*/nobody: no s"):
        run(document)
    command.write(document)
    command("run", "-d", "-b", str(command.bundle), "c", code=1)
    assert command("list", "-q") == ""


IP = "busybox ip"
HOST_SIDE = f"""
set -e
ip link add kd0 type veth peer name kd1
{IP} link set kd0 address 02:00:00:00:00:07
{IP} addr add 10.77.1.2/24 dev kd0
{IP} link set kd0 up
"$@" || echo failed
{IP} addr show dev kd0 2>/dev/null || echo gone
"""


def in_a_network_of_its_own(command: Command) -> str:
    runtime = [sys.executable, "-c", "from kedge.runtime.main import main; main()"]
    words = [*runtime, "--root", str(command.root), "run", "-b", str(command.bundle), "c"]
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", HOST_SIDE, "sh", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def test_an_interface_moves_in_with_its_addresses(command: Command, shell_spec: Spec) -> None:
    document = shell_spec("busybox ip addr show")
    linux_of(document)["netDevices"] = {"kd0": {"name": "inside%d"}}
    command.write(document)
    seen = in_a_network_of_its_own(command)
    flags = next(line for line in seen.splitlines() if "inside0@" in line)
    assert ",UP" in flags
    assert "link/ether 02:00:00:00:00:07" in seen
    assert "inet 10.77.1.2/24" in seen
    assert seen.endswith("gone\n")


def test_what_was_moved_comes_back_when_the_container_fails(
    command: Command, shell_spec: Spec
) -> None:
    document = shell_spec("true")
    linux_of(document)["netDevices"] = {"kd0": {"name": "other"}, "nosuch": {}}
    command.write(document)
    seen = in_a_network_of_its_own(command)
    assert "linux.netDevices: no such interface: nosuch\nfailed\n" in seen
    assert "inet 10.77.1.2/24" in seen
    assert "kd0@kd1: <" in seen
