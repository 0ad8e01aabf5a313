"""A real engine on roots of its own, for tests that need one, and a busybox image inside it.

Import the fixtures into a conftest. Nothing here knows how the engine works inside: it is started
as a person would start it, and asked through its socket.
"""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest

from kedge.client.hosts import Host
from kedge.client.http import EngineClient
from kedge.lib.jsontypes import JsonObject

DOCKER = shutil.which("docker")
BUSYBOX = shutil.which("busybox")
# An emulated machine is some thirty times slower than a real one (``make test-vm``).
PATIENCE = float(os.environ.get("KEDGE_TEST_PATIENCE", "1"))
# Far more than a busy machine takes: what never comes up shall not be waited for for ever.
_START_S = 180.0 * PATIENCE


class Engine:
    """One engine: start it, stop it, kill it, and talk to it as ``docker`` and ``kedge`` do."""

    def __init__(self, root: Path, *flags: str) -> None:
        self.root = root
        self.socket = root / "k.sock"
        self.flags = flags
        self.log = root / "kedged.log"
        self.before: tuple[str, ...] = ()
        """What starts the engine, by exec, such as ``nsenter``."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self.before, sys.executable, "-m", "kedge.daemon",
                    "--data-root", str(self.root / "data"),
                    "--exec-root", str(self.root / "exec"),
                    "-H", self.host, "--live-restore=false", *self.flags,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while True:
            client = self.client()
            with contextlib.closing(client):
                if client.is_reachable():
                    return
            if self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
                continue
            # Nobody stops what has not started.
            self.kill()
            raise AssertionError(self.log.read_text())

    def client(self) -> EngineClient:
        return EngineClient(Host(path=str(self.socket)))

    def get(self, path: str) -> JsonObject:
        with contextlib.closing(self.client()) as client:
            return client.get(path).object()

    def kill(self) -> None:
        """End the engine as a crash does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def terminate(self) -> int:
        """End the engine as an administrator does; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(timeout=60 * PATIENCE)
        self._process = None
        return code

    def restart_with(self, *flags: str) -> None:
        """Go on with more flags."""
        self.terminate()
        self.flags = (*self.flags, *flags)
        self.start()

    def stop(self) -> int:
        """Remove every container and end the engine; return its exit code."""
        if self._process is None:
            self.start()
        assert self._process is not None
        with contextlib.closing(self.client()) as client:
            for item in client.get("/containers/json", {"all": True}).objects():
                client.delete(f"/containers/{item['Id']}", {"force": True}).read()
        return self.terminate()

    def docker(
        self, *words: str, check: bool = True, text: str = "", timeout_s: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run the official docker CLI against this engine."""
        assert DOCKER is not None
        return self._run([DOCKER, *words], check=check, text=text, timeout_s=timeout_s)

    def kedge(
        self, *words: str, check: bool = True, text: str = "", timeout_s: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run the kedge command against this engine."""
        command = [sys.executable, "-c", "from kedge.cli.main import main; main()", *words]
        return self._run(command, check=check, text=text, timeout_s=timeout_s)

    def _run(
        self, command: Sequence[str], *, check: bool, text: str, timeout_s: float
    ) -> "subprocess.CompletedProcess[str]":
        # A docker configuration of its own: no plug-ins, no credentials of whoever runs the tests.
        environment = {
            **os.environ, "DOCKER_HOST": self.host, "DOCKER_CONFIG": str(self.root / "docker"),
            "KEDGE_HOST": "", "DOCKER_BUILDKIT": "0",
        }  # fmt: skip
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, env=environment,
            timeout=timeout_s * PATIENCE, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done

    def build(self, dockerfile: str, tag: str, files: dict[str, bytes] | None = None) -> str:
        """Build an image from texts and return everything the engine printed."""
        context = make_tar({"Dockerfile": dockerfile.encode(), **(files or {})})
        return self.build_tar(context, tag)

    def build_tar(self, context: bytes, tag: str) -> str:
        with contextlib.closing(self.client()) as client:
            response = client.request(
                "POST", "/build", {"t": tag}, body=context, content_type="application/x-tar"
            )
            messages = list(response.messages())
        errors = [str(message["error"]) for message in messages if "error" in message]
        assert not errors, errors
        return "".join(str(message.get("stream", "")) for message in messages)


def make_tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """Return a tar archive with executable files and symbolic links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
        for name, goal in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, goal
            archive.addfile(member)
    return buffer.getvalue()


def busybox_context() -> bytes:
    """Return a build context for an image of Debian's static busybox."""
    assert BUSYBOX is not None
    applets = subprocess.check_output([BUSYBOX, "--list"], text=True).split()
    files = {
        "Dockerfile": b'FROM scratch\nCOPY bin /bin\nCOPY etc /etc\nENV PATH=/bin\nCMD ["sh"]\n',
        "bin/busybox": Path(BUSYBOX).read_bytes(),
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nweb:x:100:101:web:/:/bin/sh\n",
        "etc/group": b"root:x:0:\nweb:x:101:\nlogs:x:104:web\n",
    }
    return make_tar(files, {f"bin/{name}": "busybox" for name in applets if name != "busybox"})


def page(port: int) -> str:
    """Return what answers on a port of the host's loopback, waiting until something does."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 60
    while True:
        try:
            with opener.open(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < deadline, "the page did not answer"
            time.sleep(0.02)


@contextlib.contextmanager
def running_engine(*flags: str) -> Generator[Engine]:
    """Run an engine without any image; everything of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="e-") as root:
        engine = Engine(Path(root), *flags)
        engine.start()
        try:
            yield engine
        finally:
            assert engine.stop() == 0, engine.log.read_text()


@pytest.fixture
def bare_engine() -> Iterator[Engine]:
    """A running engine without any image."""
    with running_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def shared_engine() -> Iterator[Engine]:
    """One engine with the image ``busybox`` for a whole module; tests remove what they make."""
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    with running_engine() as engine:
        engine.build_tar(busybox_context(), "busybox")
        # The default bridge and the packet filter's table are there from the first start on.
        engine.docker("run", "--rm", "busybox", "true")
        yield engine


@pytest.fixture
def engine(bare_engine: Engine) -> Engine:
    """A running engine with the image ``busybox``."""
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    bare_engine.build_tar(busybox_context(), "busybox")
    return bare_engine
