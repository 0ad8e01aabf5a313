"""Debian's containerd, Podman, Buildah and dockerd on roots of their own, with kedge-runtime below.

Nothing comes from a registry: each is given an archive of busybox.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.engine import BUSYBOX, busybox_context, make_tar
from tests.terminal import Terminal

RUNTIME = Path(sys.executable).with_name("kedge-runtime")
IMAGE = "localhost/box:latest"
UNTIL_USR1 = "trap 'exit 7' USR1; echo up; while sleep 0.1; do :; done"
# What people who drive a runtime cannot be promised on every host: raising limits.
_CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
[engine]
lock_type = "file"
"""


class Driver(NamedTuple):
    """A program with its options, and how it is called."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    root: Path

    def attempt(self, *words: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        """Run one command, however it ends."""
        return subprocess.run(
            [*self.words, *words], input=text, capture_output=True, text=True, check=False,
            env={**os.environ, **self.environment}, timeout=120,
        )  # fmt: skip

    def __call__(
        self, *words: str, code: int = 0, text: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Run one command; ``code`` is what it must end with."""
        done = self.attempt(*words, text=text)
        assert done.returncode == code, (words, done)
        return done

    def says(self, *words: str, text: str = "") -> str:
        """Return what a command prints."""
        return self(*words, text=text).stdout.strip()

    def at_terminal(self, *words: str) -> Terminal:
        """Run a command at a terminal."""
        return Terminal([*self.words, *words], self.environment)


def _layer() -> bytes:
    """Return busybox with its directories, whose owner dockerd would not map otherwise."""
    buffer = io.BytesIO(busybox_context())
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        for name in ("bin", "etc"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
    return buffer.getvalue()


def docker_archive() -> bytes:
    """Return what ``docker save`` makes of an image of busybox."""
    layer = _layer()
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = json.dumps(
        {
            "architecture": "amd64", "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]}, "history": [{}],
        }
    ).encode()  # fmt: skip
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    return make_tar(
        {name: config, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    )


@contextmanager
def place() -> Generator[Path]:
    """A short folder with the image's archive in it."""
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    with tempfile.TemporaryDirectory(prefix="d-") as name:
        root = Path(name)
        (root / "box.tar").write_bytes(docker_archive())
        yield root


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (scripts/test-setup)")


@contextmanager
def service(words: Sequence[str], driver: Driver, *probe: str) -> Generator[Driver]:
    """Run a daemon until ``probe`` has answered, and to its end."""
    log = driver.root / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while driver.attempt(*probe).returncode:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield driver
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def ctr() -> Iterator[Driver]:
    """``ctr`` with a containerd of its own."""
    need("containerd", "ctr")
    with place() as root:
        (root / "config.toml").write_text(
            f'version = 2\nroot = "{root}/data"\nstate = "{root}/run"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{root}/c.sock"\n[ttrpc]\naddress = "{root}/t.sock"\n'
            f'[plugins."io.containerd.internal.v1.opt"]\npath = "{root}/opt"\n'
        )
        driver = Driver(("ctr", "-a", f"{root}/c.sock"), {}, root)
        with service(["containerd", "-c", f"{root}/config.toml"], driver, "version"):
            driver("images", "import", str(root / "box.tar"))
            yield driver


@pytest.fixture(scope="module")
def podman() -> Iterator[Driver]:
    """``podman`` with storage and state of its own."""
    need("podman", "conmon")
    with place() as root:
        (root / "containers.conf").write_text(_CONTAINERS_CONF)
        words = (
            "podman", "--root", f"{root}/data", "--runroot", f"{root}/run",
            "--tmpdir", f"{root}/tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
            "--events-backend", "file", "--runtime", str(RUNTIME),
        )  # fmt: skip
        driver = Driver(words, {"CONTAINERS_CONF": f"{root}/containers.conf"}, root)
        driver("load", "-i", str(root / "box.tar"))
        yield driver


@pytest.fixture(scope="module")
def buildah() -> Iterator[Driver]:
    """``buildah`` with storage of its own."""
    need("buildah")
    with place() as root:
        (root / "containers.conf").write_text(_CONTAINERS_CONF)
        words = (
            "buildah", "--root", f"{root}/data", "--runroot", f"{root}/run",
            "--storage-driver", "vfs",
        )  # fmt: skip
        yield Driver(words, {"CONTAINERS_CONF": f"{root}/containers.conf"}, root)


@pytest.fixture(scope="module")
def docker() -> Iterator[Driver]:
    """``docker`` with a dockerd of its own, in a network and mount namespace made for it.

    There it may have its bridge and its rules, and ids for user namespaces.
    """
    need("dockerd", "docker", "unshare")
    with place() as root:
        for path in (root, root.parent):
            path.chmod(0o711)  # the users that containers have must get to their files
        (root / "ids").write_text("daemon:3000000:65536\n")
        (root / "daemon.json").write_text("{}")
        script = (
            f"ip link set lo up; mount --bind {root}/ids /etc/subuid; "
            f'mount --bind {root}/ids /etc/subgid; exec dockerd "$@"'
        )
        words = [
            "unshare", "--net", "--mount", "sh", "-c", script, "-",
            "--data-root", f"{root}/data", "--exec-root", f"{root}/exec",
            "-H", f"unix://{root}/d.sock", "--pidfile", f"{root}/pid",
            "--config-file", f"{root}/daemon.json", "--storage-driver", "vfs",
            "--userns-remap", "daemon", "--add-runtime", f"kedge={RUNTIME}",
            "--default-runtime", "kedge",
        ]  # fmt: skip
        environment = {"DOCKER_HOST": f"unix://{root}/d.sock", "DOCKER_CONFIG": f"{root}/config"}
        driver = Driver(("docker",), environment, root)
        with service(words, driver, "version"):
            driver("load", "-i", str(root / "box.tar"))
            yield driver
