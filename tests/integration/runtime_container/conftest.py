"""A bundle made of busybox, a way to run it, and a check that nothing is left behind."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from kedge.lib.jsontypes import Json, JsonObject
from kedge.linux import prctl
from kedge.oci.mounts import Mount
from kedge.oci.runtime_spec import parse_spec
from kedge.runtime.cgroups import Cgroup, make_cgroup
from kedge.runtime.container import DEFAULT_OPTIONS, Created, Options, Stdio, create_container
from kedge.runtime.spec_template import spec_document
from tests.integration.runtime_container.command import Command

DOCKER_CAPABILITIES = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
]
APPLETS = (
    "cat chmod echo env grep hostname id ls mkdir mount readlink sh sleep stat touch true tty wc"
)


class Result(NamedTuple):
    """How a container ended and what it wrote."""

    code: int
    output: str
    mountpoints: tuple[str, ...]


class Run(Protocol):
    """Runs a spec to its end."""

    def __call__(
        self,
        document: JsonObject,
        *,
        rootfs: tuple[Mount, ...] = (),
        options: Options = DEFAULT_OPTIONS,
        meanwhile: Callable[[Created], None] | None = None,
    ) -> Result: ...


# Other suites may run at the same time: only what has this process's mark can be our leak.
CGROUP_PREFIX = f"kedge-rtest-{os.getpid()}-"


def _mounts_below(path: Path) -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        points = [line.split(" ")[4] for line in file]
    return [point for point in points if point.startswith(f"{path}/")]


def _cgroups() -> list[str]:
    root = Path("/sys/fs/cgroup")
    hierarchies = (root, *root.iterdir())
    return [str(path) for each in hierarchies for path in each.glob(f"{CGROUP_PREFIX}*")]


def _open_fds() -> set[str]:
    # The descriptor of the listing itself is closed again when it is looked at.
    return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


@pytest.fixture(autouse=True)
def leaves_nothing_behind(tmp_path: Path) -> Iterator[None]:
    if os.getuid() != 0:
        pytest.skip("needs root")
    fds = _open_fds()
    yield
    # Joining a user namespace makes the caller a subreaper; later orphans must not land here.
    prctl.set_child_subreaper(enabled=False)
    assert _mounts_below(tmp_path) == []
    assert _open_fds() - fds == set()
    assert _cgroups() == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed (apt-get install busybox-static)")
    binaries = tmp_path / "rootfs/bin"
    binaries.mkdir(parents=True)
    shutil.copy2(busybox, binaries / "busybox")
    for applet in APPLETS.split():
        (binaries / applet).symlink_to("busybox")
    (tmp_path / "rootfs/etc").mkdir()
    (tmp_path / "rootfs/etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"
    )
    return tmp_path


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    found = make_cgroup(f"{CGROUP_PREFIX}{uuid.uuid4().hex[:12]}")
    yield found
    if found.exists():
        found.kill()
        found.delete()


@pytest.fixture
def command(tmp_path: Path, bundle: Path) -> Iterator[Command]:
    root = tmp_path / "state"
    root.mkdir()
    found = Command(root, bundle, f"/{CGROUP_PREFIX}{uuid.uuid4().hex[:12]}")
    yield found
    found("delete", "--force", "c")


@pytest.fixture
def shell_spec() -> Callable[[str], JsonObject]:
    """Return a function from a shell script to a document like Docker's."""

    def make(script: str) -> JsonObject:
        document = spec_document()
        names: Json = [*DOCKER_CAPABILITIES]
        document["process"] = {
            "args": ["sh", "-c", script],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "capabilities": {"bounding": names, "effective": names, "permitted": names},
        }
        document["root"] = {"path": "rootfs"}
        document["hostname"] = "box"
        return document

    return make


@pytest.fixture
def run(bundle: Path, cgroup: Cgroup) -> Run:
    def run_to_the_end(
        document: JsonObject,
        *,
        rootfs: tuple[Mount, ...] = (),
        options: Options = DEFAULT_OPTIONS,
        meanwhile: Callable[[Created], None] | None = None,
    ) -> Result:
        reading, writing = os.pipe()
        try:
            created = create_container(
                parse_spec(document),
                container_id="test",
                bundle=str(bundle),
                rootfs=rootfs,
                stdio=Stdio(-1, writing, writing),
                cgroup=cgroup,
                options=options,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        try:
            created.start()
            if meanwhile is not None:
                meanwhile(created)
            source = reading if created.pty_master < 0 else created.pty_master
            output = read_all(source)
        finally:
            code = os.waitstatus_to_exitcode(os.waitpid(created.pid, 0)[1])
            os.close(reading)
            created.close()
            cgroup.delete()
        return Result(code, output, created.created_mountpoints)

    return run_to_the_end


def read_all(fd: int) -> str:
    output = b""
    while True:
        try:
            data = os.read(fd, 65536)
        except OSError:  # a terminal nobody has open any more
            break
        if not data:
            break
        output += data
    return output.decode()
