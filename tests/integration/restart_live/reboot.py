"""What a reboot takes away: every process of an engine, its part of the kernel, its exec root."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kedge.linux.mount import MNT_DETACH, umount
from kedge.network.names import engine_tag
from tests.engine import Engine
from tests.integration.engine_crash.truth import (
    kill,
    listed,
    shim_of,
    spawner_of,
    state,
    until,
)


def reboot(engine: Engine) -> None:
    """End an engine and all its containers as a power cut does; only the data root is left."""
    alive = [key for key, word in listed(engine).items() if word in {"running", "paused"}]
    programs = [int(str(state(engine, key)["Pid"])) for key in alive]
    spawner = spawner_of(engine)
    # With it goes the shim that it keeps ready.
    spares = children_of(spawner) if spawner else []
    processes = [spawner, *spares, *(shim_of(engine, key) for key in alive)]
    bridges = list(_bridges(engine))
    engine.kill()
    for pid in filter(None, processes):
        with suppress(ProcessLookupError):
            kill(pid)
    for directory in [found for key in alive for found in _cgroups(key)]:
        freezer = Path(directory, "freezer.state")
        if freezer.exists():
            # A frozen process of cgroup v1 dies only once it may run.
            freezer.write_text("THAWED")
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in programs), "nothing runs")
    for directory in [found for key in alive for found in _cgroups(key)]:
        # One that is mounted under two controllers' names is found twice.
        with suppress(FileNotFoundError):
            os.rmdir(directory)
    for bridge in bridges:
        subprocess.run(["ip", "link", "delete", bridge], check=False, capture_output=True)
    table = f"kedge-{engine_tag(str(engine.root / 'data'))}"
    subprocess.run(["nft", "delete", "table", "inet", table], check=False, capture_output=True)
    _wipe(engine.root / "exec")


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def _bridges(engine: Engine) -> Iterator[str]:
    yield f"kedge-{engine_tag(str(engine.root / 'data'))}"
    client = engine.client()
    for network in client.get("/networks").objects():
        yield f"br-{str(network['Id'])[:12]}"
    client.close()


def _cgroups(key: str) -> list[str]:
    """Return a container's cgroups, the innermost first."""
    walk = os.walk("/sys/fs/cgroup", topdown=False)
    return [directory for directory, _, _ in walk if os.path.basename(directory) == key]


def _wipe(folder: Path) -> None:
    """Empty a folder as the tmpfs it usually lies on is after a boot."""
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(points):
        if point.startswith(f"{folder}/"):
            umount(point, MNT_DETACH)
    shutil.rmtree(folder)
