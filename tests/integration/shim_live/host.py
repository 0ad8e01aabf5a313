"""A spawner and real containers of busybox for tests, with everything below one directory."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import NamedTuple

import pytest

from kedge.errdefs import KedgeError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.runtime.spec_template import spec_document
from kedge.shim.client import Shim
from kedge.shim.logconfig import LogConfig
from kedge.shim.messages import CreateRequest, ExecRequest
from kedge.shim.spawner_client import Spawner

APPLETS = "cat dd echo false head id kill ls md5sum printf readlink seq sh sleep stty true yes"
PATH = "PATH=/bin"


class Wishes(NamedTuple):
    """How a test's container differs from the plain one."""

    terminal: bool = False
    stdin: bool = False
    stdin_once: bool = True
    own_netns: bool = True
    own_pids: bool = True
    memory_limit: int = 0
    max_size: int = 0


PLAIN = Wishes()


class Host:
    """Creates containers and removes them all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spawner = Spawner(run_dir=str(root))
        self.prefix = f"kedge-shim-test-{uuid.uuid4().hex[:8]}"
        self._shims: list[Shim] = []

    def request(self, name: str, *args: str, wishes: Wishes = PLAIN) -> CreateRequest:
        directory = self.root / name
        (directory / "rootfs/bin").mkdir(parents=True)
        busybox = shutil.which("busybox")
        if busybox is None:
            pytest.skip("busybox is not installed (apt-get install busybox-static)")
        os.link(self._busybox(busybox), directory / "rootfs/bin/busybox")
        for applet in APPLETS.split():
            (directory / "rootfs/bin" / applet).symlink_to("busybox")
        (directory / "config.json").write_text(json.dumps(_document(args, wishes)))
        return CreateRequest(
            id=name,
            bundle=str(directory),
            run_dir=str(directory),
            cgroup_path=f"{self.prefix}-{name}",
            terminal=wishes.terminal,
            stdin=wishes.stdin,
            stdin_once=wishes.stdin_once,
            own_netns=wishes.own_netns,
            log=LogConfig(str(directory / "x.log"), max_size=wishes.max_size),
        )

    async def create(self, name: str, *args: str, wishes: Wishes = PLAIN) -> Shim:
        shim = await self.spawner.create(self.request(name, *args, wishes=wishes))
        self.adopt(shim)
        await shim.wait_created()
        shim.close_netns()
        return shim

    async def run(self, name: str, *args: str, wishes: Wishes = PLAIN) -> Shim:
        shim = await self.create(name, *args, wishes=wishes)
        await shim.start()
        return shim

    def adopt(self, shim: Shim) -> None:
        """Remove this shim's container at the end."""
        self._shims.append(shim)

    def log(self, name: str) -> str:
        lines = (self.root / name / "x.log").read_text().splitlines()
        return "".join(json.loads(line)["log"] for line in lines)

    async def close(self) -> None:
        for shim in self._shims:
            with contextlib.suppress(KedgeError):
                await shim.kill(signal.SIGKILL)
                await shim.wait()
            with contextlib.suppress(KedgeError):
                await shim.shutdown()
            shim.close()
        await self.spawner.close()

    def _busybox(self, source: str) -> Path:
        """Return a copy that can be linked into every root, made once."""
        copy = self.root / "busybox"
        if not copy.exists():
            shutil.copy2(source, copy)
        return copy


def _document(args: tuple[str, ...], wishes: Wishes) -> JsonObject:
    document = spec_document()
    capabilities: list[Json] = ["CAP_KILL", "CAP_SETUID", "CAP_SETGID"]
    document["process"] = {
        "terminal": wishes.terminal,
        "args": [*args],
        "env": [PATH],
        "cwd": "/",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
    }
    document["root"] = {"path": "rootfs"}
    document["annotations"] = {"org.kedge.seccomp": "default"}
    linux = document["linux"]
    assert isinstance(linux, dict)
    names = ["ipc", "uts", "mount", "cgroup"]
    names += ["network"] if wishes.own_netns else []
    names += ["pid"] if wishes.own_pids else []
    linux["namespaces"] = [{"type": name} for name in names]
    if wishes.memory_limit:
        limit: Json = wishes.memory_limit
        linux["resources"] = {"memory": {"limit": limit, "swap": limit}}
    return document


def process(*args: str) -> JsonObject:
    """Return the ``process`` object of an exec."""
    return {"args": [*args], "env": [PATH], "cwd": "/", "user": {"uid": 0, "gid": 0}}


def attached(exec_id: str, *args: str, stdin: bool = False, terminal: bool = False) -> ExecRequest:
    """Return an exec with output."""
    return ExecRequest(
        exec_id, process(*args), stdin=stdin, stdout=True, stderr=True, terminal=terminal
    )


async def receive(stream: socket.socket, until: bytes = b"") -> bytes:
    """Return what comes until end of file, or until ``until`` was in it."""
    data = bytearray()
    loop = asyncio.get_running_loop()
    while chunk := await loop.sock_recv(stream, 1 << 20):
        data += chunk
        if until and until in data:
            return bytes(data)
    stream.close()
    return bytes(data)


def unframe(data: bytes, wanted: int = 1) -> bytes:
    """Return one stream's bytes out of stdcopy frames."""
    parts: list[bytes] = []
    position = 0
    while position < len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "big")
        if data[position] == wanted:
            parts.append(data[position + 8 : position + 8 + length])
        position += 8 + length
    assert position == len(data)
    return b"".join(parts)


async def gone(pid: int) -> None:
    """Return when a process that is no child of ours has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)


@contextlib.asynccontextmanager
async def open_host() -> AsyncGenerator[Host]:
    with tempfile.TemporaryDirectory(prefix="kedge-shim-") as root:
        host = Host(Path(root))
        try:
            yield host
        finally:
            await host.close()


def scenario(test: Callable[[Host], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Run an async test body with a host of its own, bounded in time."""

    async def run() -> None:
        async with asyncio.timeout(50), open_host() as host:
            await test(host)

    def wrapper() -> None:
        asyncio.run(run())

    wrapper.__name__ = getattr(test, "__name__", "scenario")
    return wrapper
