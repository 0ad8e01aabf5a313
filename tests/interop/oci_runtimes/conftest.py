"""One engine for the module, with the host's OCI runtimes registered."""

import shutil
from collections.abc import Iterator

import pytest

from tests.engine import Engine, busybox_context, running_engine

PROGRAMS = {name: shutil.which(name) for name in ("crun", "runc")}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    flags = [f"--add-runtime={name}={path}" for name, path in PROGRAMS.items() if path]
    with running_engine(*flags, "--add-runtime=gone=/nonexistent/gone") as found:
        found.build_tar(busybox_context(), "busybox")
        yield found


@pytest.fixture(params=["crun", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if PROGRAMS[name] is None:
        pytest.skip(f"{name} is not installed")
    return name
