"""Two engines for the whole module, one of them with a user namespace for its containers."""

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kedge.runtime.seccomp.architectures import syscall_numbers
from tests.engine import BUSYBOX, Engine, busybox_context
from tests.integration.isolation import probe


@contextmanager
def running(*flags: str) -> Generator[Engine]:
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    with tempfile.TemporaryDirectory(prefix="e-") as root:
        engine = Engine(Path(root), *flags)
        engine.start()
        try:
            engine.build_tar(busybox_context(), "busybox")
            yield engine
        finally:
            assert engine.stop() == 0, engine.log.read_text()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def remapped() -> Iterator[Engine]:
    with running("--userns-remap=default") as found:
        yield found


@pytest.fixture(params=["plain", "remapped"])
def each(request: pytest.FixtureRequest, engine: Engine, remapped: Engine) -> Engine:
    """Both, one after the other."""
    return engine if request.param == "plain" else remapped


def call_all(engine: Engine, names: list[str], *flags: str) -> dict[str, int]:
    """Make each system call with arguments of no sense, from inside; return the results."""
    numbers = syscall_numbers("x86_64")
    requests = b"".join(probe.request(numbers[name], *probe.NONSENSE) for name in names)
    files = {"probe": probe.program(), "requests": requests}
    engine.build("FROM busybox\nCOPY probe requests /\n", "probe", files)
    script = "/probe < /requests | hexdump -ve '1/1 \"%02x\"'"
    answer = engine.docker("run", "--rm", *flags, "probe", "sh", "-c", script).stdout
    return dict(zip(names, probe.results(answer), strict=True))


def inside(engine: Engine, script: str, *flags: str) -> str:
    return engine.docker("run", "--rm", *flags, "busybox", "sh", "-c", script).stdout


def status(engine: Engine, *flags: str) -> dict[str, str]:
    """Return the fields of /proc/self/status."""
    pairs = (
        line.partition(":") for line in inside(engine, "cat /proc/self/status", *flags).splitlines()
    )
    return {key: value.strip() for key, _, value in pairs}
