"""The engines that are compared, each on roots of its own below one folder."""

import compileall
import contextlib
import shutil
import socket
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final

from bench.api import ApiClient
from bench.processes import MeasureError, Service, run

IMAGE: Final = "localhost/busybox"
_DOCKER: Final = shutil.which("docker") or "docker"
_SOURCE: Final = Path(__file__).parent.parent / "src"
KEDGE_CLI: Final = (str(Path(sys.executable).with_name("kedge")),)


class Daemon:
    """An engine with an API socket: kedged or dockerd."""

    def __init__(self, root: Path, socket: Path) -> None:
        """Name the folder of its configuration and its socket."""
        self.socket = socket
        self.docker_cli = (_DOCKER, "-H", f"unix://{socket}")
        self.environment = {
            "DOCKER_CONFIG": str(root / "docker-config"),
            "DOCKER_BUILDKIT": "0",
            "KEDGE_HOST": f"unix://{socket}",
        }

    def client(self) -> ApiClient:
        """Return a connection of its own."""
        return ApiClient(str(self.socket))

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.client().ask("GET", "/version"))
        except MeasureError:
            return False


@contextlib.contextmanager
def open_kedged(
    root: Path, context: bytes, within: Sequence[str] = ()
) -> Generator[Daemon, None, None]:
    """Start kedged with the busybox image in it, by the command ``within`` if there is one."""
    root.mkdir()
    # Installing a package compiles it; an environment that keeps Python from writing bytecode would
    # have every command of a work tree compile its modules anew.
    compileall.compile_dir(_SOURCE, quiet=1)
    daemon = Daemon(root, root / "k.sock")
    words = [
        *within, sys.executable, "-m", "kedge.daemon", "--config-file", str(root / "daemon.json"),
        "--data-root", str(root / "data"), "--exec-root", str(root / "exec"),
        "-H", f"unix://{daemon.socket}", "--live-restore=false",
    ]  # fmt: skip
    (root / "daemon.json").write_text("{}")
    service = Service(words, root / "log", daemon.is_ready)
    try:
        daemon.client().ask_stream("/build", {"t": IMAGE}, archive=context)
        yield daemon
    finally:
        service.stop()


@contextlib.contextmanager
def open_dockerd(
    root: Path, archive: bytes, within: Sequence[str] = ()
) -> Generator[Daemon | None, None, None]:
    """Start Debian's dockerd with a containerd of its own, if it is installed, by ``within``."""
    if shutil.which("dockerd") is None:
        yield None
        return
    root.mkdir()
    daemon = Daemon(root, root / "d.sock")
    words = [
        *within, "dockerd", "--data-root", str(root / "data"), "--exec-root", str(root / "exec"),
        "-H", f"unix://{daemon.socket}", "--pidfile", str(root / "pid"), "--log-level", "error",
        "--config-file", str(root / "daemon.json"),
    ]  # fmt: skip
    (root / "daemon.json").write_text("{}")
    service = Service(words, root / "log", daemon.is_ready)
    try:
        run(
            [*daemon.docker_cli, "import", "--change", "ENV PATH=/bin", "-", IMAGE],
            stdin=archive,
            environment=daemon.environment,
        )
        yield daemon
    finally:
        service.stop()


def make_podman(root: Path, archive: bytes) -> tuple[str, ...]:
    """Return podman's command line on roots of its own, with the image; () without podman."""
    if shutil.which("podman") is None or shutil.which("crun") is None:
        return ()
    root.mkdir()
    (root / "networks").mkdir()
    words = (
        "podman", "--root", str(root / "data"), "--runroot", str(root / "run"),
        "--tmpdir", str(root / "tmp"), "--runtime", "crun", "--cgroup-manager", "cgroupfs",
        "--storage-driver", "overlay", "--network-config-dir", str(root / "networks"),
        "--events-backend", "file",
    )  # fmt: skip
    run([*words, "import", "--change", "ENV PATH=/bin", "-", IMAGE], stdin=archive)
    return words


def has_registry() -> bool:
    """Tell whether Debian's docker-registry is installed."""
    return shutil.which("docker-registry") is not None


def registry_command(root: Path, address: str) -> list[str]:
    """Configure docker-registry for a folder and an address; return the command that serves it."""
    (root / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: {address}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {root}/data}}}}\n"
    )
    return ["docker-registry", "serve", str(root / "config.yml")]


@contextlib.contextmanager
def debians_registry(root: Path, address: str) -> Generator[None, None, None]:
    """Serve docker-registry's folder ``root`` on loopback."""
    host, _, port = address.partition(":")

    def is_ready() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex((host, int(port))) == 0

    service = Service(registry_command(root, address), root / "log", is_ready)
    try:
        yield
    finally:
        service.stop()
