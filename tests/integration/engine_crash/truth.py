"""What an engine says and what is there, compared: records, files, processes, links and rules."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Collection
from pathlib import Path

from kedge.lib.jsontypes import JsonObject
from kedge.network.names import engine_tag
from tests.engine import PATIENCE, Engine

_PATIENCE_S = 60.0 * PATIENCE


def until(condition: Callable[[], object], what: str, within_s: float = _PATIENCE_S) -> None:
    """Wait for ``condition``; the deadline is far beyond what a busy machine needs."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {within_s} s: {what}"
        time.sleep(0.02)


def state(engine: Engine, name: str) -> JsonObject:
    """Return the State of an inspected container."""
    found = engine.get(f"/containers/{name}/json")["State"]
    assert isinstance(found, dict)
    return found


def status(engine: Engine, name: str) -> str:
    """Return one word: created, running, exited."""
    return str(state(engine, name)["Status"])


def container_id(engine: Engine, name: str) -> str:
    """Return the full id."""
    return str(engine.get(f"/containers/{name}/json")["Id"])


def listed(engine: Engine) -> dict[str, str]:
    """Return the status of every container by id."""
    with contextlib.closing(engine.client()) as client:
        items = client.get("/containers/json", {"all": True}).objects()
    return {str(item["Id"]): str(item["State"]) for item in items}


def parent_of(pid: int) -> int:
    """Return a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def shim_of(engine: Engine, name: str) -> int:
    """Return the pid of a running container's shim."""
    pid = state(engine, name)["Pid"]
    assert isinstance(pid, int)
    shim = parent_of(pid)
    assert Path(f"/proc/{shim}/comm").read_text().strip() == "kedge-shim"
    return shim


def spawner_of(engine: Engine) -> int:
    """Return the pid of an engine's spawner, or 0."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                title = Path(f"/proc/{name}/comm").read_text().strip()
                if title == "kedge-spawner" and parent_of(int(name)) == engine.pid:
                    return int(name)
            except OSError:
                continue
    return 0


def kill(pid: int) -> None:
    """End one process as a crash does, and wait until it is gone."""
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        until(lambda: not _runs(pid), f"process {pid} is gone")
    finally:
        os.close(pidfd)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def differences(engine: Engine) -> list[str]:
    """Return everything that belongs to no container of a running, idle engine."""
    found = listed(engine)
    alive = {key for key, word in found.items() if word in {"running", "paused"}}
    data, shims = engine.root / "data", engine.root / "exec" / "shims"
    keys = {f"container-{key}" for key in found}
    layers = {name for name in _layer_names(data) if not name.startswith("sha256:")}
    wrong = [
        *_compare("folder", set(os.listdir(data / "containers")), set(found)),
        *_compare("bundle", set(os.listdir(shims)), alive),
        *_compare("layer", layers, keys),
        *_compare("scratch file", set(os.listdir(data / "tmp")), set()),
        *_compare("ingest", set(os.listdir(data / "content" / "ingest")), set()),
        *_compare("cgroup", {name for name in _cgroups() if name in found}, alive),
    ]
    wrong += [f"dead link {name}" for name in _links(engine) if not _belongs(name, alive)]
    return wrong


def assert_true(engine: Engine, *, fickle: Collection[str] = ()) -> None:
    """Assert that a settled engine has nothing that belongs to no container, and lies in nothing.

    Running containers answer, the others do not; tearing down may take a moment. Those with the ids
    ``fickle`` come and go too fast to be asked.
    """
    until(lambda: not differences(engine), f"nothing is left over: {differences(engine)}")
    for key, word in listed(engine).items():
        done = engine.docker("exec", key, "true", check=False)
        if key not in fickle:
            assert (done.returncode == 0) == (word == "running"), (key, word, done.stderr)


def _compare(kind: str, there: set[str], wanted: set[str]) -> list[str]:
    extra = [f"stray {kind} {name}" for name in sorted(there - wanted)]
    return extra + [f"missing {kind} {name}" for name in sorted(wanted - there)]


def _layer_names(data: Path) -> list[str]:
    database = sqlite3.connect(f"file:{data / 'metadata.db'}?mode=ro", uri=True)
    try:
        return [str(row[0]) for row in database.execute("SELECT name FROM snapshots")]
    finally:
        database.close()


def _cgroups() -> set[str]:
    names: set[str] = set()
    for directory, _, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(os.path.dirname(directory)) == "kedge":
            names.add(os.path.basename(directory))
    return names


def _links(engine: Engine) -> list[str]:
    """Return the links in the engine's bridge."""
    bridge = f"kedge-{engine_tag(str(engine.root / 'data'))}"
    folder = Path("/sys/class/net", bridge, "brif")
    return os.listdir(folder) if folder.exists() else []


def _belongs(link: str, alive: set[str]) -> bool:
    return any(key.startswith(link.removeprefix("veth")[:10]) for key in alive)


def rules(engine: Engine) -> str:
    """Return the engine's packet filter table as JSON text, or nothing."""
    tag = engine_tag(str(engine.root / "data"))
    done = subprocess.run(
        ["nft", "-j", "list", "table", "inet", f"kedge-{tag}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return json.dumps(json.loads(done.stdout)) if done.returncode == 0 else ""
