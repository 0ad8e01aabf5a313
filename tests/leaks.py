"""What a test left behind on the host: taken before, compared after, with a bounded wait.

The kernel takes network namespaces, cgroups and lazily detached mounts down after the system call
has returned, so a difference only counts when it is still there at the deadline.

Some things cannot be told apart by owner (links, cgroups, firewall tables). While another test
session runs on the host they are not counted; alone, as in CI, every difference is.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final, NamedTuple

from kedge.linux.mount import MNT_DETACH, umount

SESSION_VARIABLE: Final = "KEDGE_TEST_SESSION"
"""In the environment of everything a session starts, and so of what it leaves running."""

_LOCK: Final = "/run/lock/kedge-tests"
_SYSTEM_PLACES: Final = ("/run/kedge", "/var/lib/kedge", "/run/kedge-runtime")
_WAIT_S: Final = 60.0
_LISTEN: Final = "0A"


class Leak(NamedTuple):
    """One thing that is there after a test and was not before, or the other way round."""

    kind: str
    what: str
    is_ours: bool
    """Certainly this session's, whoever else is at work on the host."""


class Snapshot(NamedTuple):
    """The host's state as far as a container engine changes it."""

    mounts: frozenset[str]
    links: frozenset[str]
    named_netns: frozenset[str]
    cgroups: frozenset[str]
    tables: dict[str, str]
    processes: frozenset[tuple[int, str]]
    engines: frozenset[tuple[int, str]]
    """kedge's own processes, whoever started them and with whatever environment."""
    listeners: frozenset[str]
    files: frozenset[str]
    legacy_tables: frozenset[str]


class LeakDetector:
    """Takes snapshots for one test session and says what grew between two of them."""

    def __init__(self, session: str, temporary: Path, roots: tuple[Path, ...] = ()) -> None:
        """Watch for ``session``.

        Args:
            session: The value of `SESSION_VARIABLE`.
            temporary: Where nothing may be left.
            roots: Other folders of the session, where files may stay but no mounts.
        """
        self._marker = f"{SESSION_VARIABLE}={session}".encode()
        self._temporary = temporary
        self._own = tuple(f"{root}/" for root in (temporary, *roots))
        self._nft = shutil.which("nft")
        self._lock = -1

    def join_host(self) -> None:
        """Tell other sessions that this one is at work on the host, until it ends."""
        if self._lock < 0:
            self._lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def is_alone(self) -> bool:
        """Tell whether no other session is at work on the host."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A failed conversion has given the shared lock up as well: flock(2).
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            return False
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        return True

    def snapshot(self) -> Snapshot:
        """Return the host's state of now."""
        return Snapshot(
            mounts=read_mounts(),
            links=frozenset(os.listdir("/sys/class/net")),
            named_netns=_names("/run/netns"),
            cgroups=read_cgroups(),
            tables=self._read_tables(),
            processes=read_processes(self._marker),
            engines=read_engines(),
            listeners=read_listeners(),
            files=frozenset(
                str(Path(place, name))
                for place in (str(self._temporary), *_SYSTEM_PLACES)
                for name in _names(place)
            ),
            legacy_tables=read_legacy_tables(),
        )

    def wait_until_gone(self, before: Snapshot, within_s: float = _WAIT_S) -> list[Leak]:
        """Return what is different from ``before`` and does not go away in time."""
        deadline = time.monotonic() + within_s
        pause = 0.01
        while True:
            leaks = self.differences(before)
            if not all(leak.is_ours for leak in leaks) and not self.is_alone():
                leaks = [leak for leak in leaks if leak.is_ours]
            if not leaks or time.monotonic() >= deadline:
                return leaks
            time.sleep(pause)
            pause = min(pause * 2, 0.2)

    def differences(self, before: Snapshot) -> list[Leak]:
        """Return what is different from ``before`` right now, whoever did it."""
        after = self.snapshot()
        leaks = [
            Leak("mount", what, is_ours=what.startswith(self._own))
            for what in after.mounts - before.mounts
            if what.startswith(self._own) or not what.startswith("/tmp/")
        ]
        for kind, now, then in (
            ("link", after.links, before.links),
            ("network namespace", after.named_netns, before.named_netns),
            ("cgroup", after.cgroups, before.cgroups),
            ("legacy iptables table", after.legacy_tables, before.legacy_tables),
        ):
            leaks += [Leak(kind, what, is_ours=False) for what in now - then]
        leaks += _compare_tables(before.tables, after.tables)
        leaks += [
            Leak("process", f"{pid} {command}", is_ours=True)
            for pid, command in after.processes - before.processes
        ]
        leaks += [
            Leak("process", f"{pid} {command}", is_ours=False)
            for pid, command in after.engines - before.engines - after.processes
        ]
        owned = {pid for pid, _ in after.processes} | {os.getpid()}
        leaks += [
            Leak("listening socket", what.partition(" ")[0], is_ours=True)
            for what in after.listeners - before.listeners
            if _owner_of(what.partition(" ")[2], owned)
        ]
        leaks += [
            Leak("file", what, is_ours=what.startswith(self._own))
            for what in after.files - before.files
        ]
        return sorted(leaks)

    def _read_tables(self) -> dict[str, str]:
        if self._nft is None or os.geteuid() != 0:
            return {}
        # One that fails would make every table look new, or gone.
        listed = subprocess.run(
            [self._nft, "--stateless", "list", "ruleset"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        tables: dict[str, str] = {}
        for text in listed.split("\ntable "):
            head, _, body = text.removeprefix("table ").partition(" {")
            if head.strip():
                tables[head.strip()] = body
        return tables


def describe(leaks: list[Leak]) -> str:
    """Return one line per leak."""
    return "\n".join(f"left behind: {leak.kind} {leak.what}" for leak in leaks)


def read_mounts() -> frozenset[str]:
    """Mount points of this process's mount namespace, with their type and mount id."""
    mounts: set[str] = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        kind = fields[fields.index("-") + 1]
        mounts.add(f"{fields[4]} ({kind}, id {fields[0]})")
    return frozenset(mounts)


def detach_mounts(roots: tuple[Path, ...]) -> None:
    """Take away what is still mounted below ``roots``, before anybody deletes through it."""
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(points):
        if any(point.startswith(f"{root}/") for root in roots):
            umount(point, MNT_DETACH)


def read_cgroups() -> frozenset[str]:
    """Every cgroup at or below one named ``kedge...``.

    The bare ``kedge`` at the top is every engine's common parent, as ``docker`` is dockerd's, and
    ``shared`` in it is shown to all containers; they are taken away at the end of the session.
    """
    found: set[str] = set()
    for top in _cgroup_tops():
        for name in _names(top):
            path = f"{top}/{name}"
            if name.startswith("kedge") and os.path.isdir(path):
                below = [directory for directory, _, _ in os.walk(path)]
                common = {path, f"{path}/shared"} if name == "kedge" else set[str]()
                found.update(set(below) - common)
    return frozenset(found)


def remove_common_cgroups() -> None:
    """Remove the engines' common parents where nothing is left in them."""
    for top in _cgroup_tops():
        for name in ("kedge/shared", "kedge"):
            with contextlib.suppress(OSError):
                os.rmdir(f"{top}/{name}")


def _cgroup_tops() -> list[str]:
    """The trees' roots and, for a confined test session, its own cgroup in each."""
    tops: list[str] = []
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    roots = {"": "/sys/fs/cgroup"} | {
        name: f"/sys/fs/cgroup/{name}" for name in _names("/sys/fs/cgroup")
    }
    for name, root in roots.items():
        if os.path.exists(f"{root}/cgroup.procs"):
            tops.append(root)
            controllers = "" if name == "unified" else name
            tops += [
                f"{root}{path}"
                for _, names, path in own
                if names.removeprefix("name=") == controllers and path != "/"
            ]
    return tops


def read_processes(marker: bytes) -> frozenset[tuple[int, str]]:
    """Processes that carry ``marker`` in their environment or descend from this one.

    This process itself and those pytest needs are older than any test, so they do not show up in
    a difference.
    """
    parents: dict[int, int] = {}
    found: set[int] = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            pid = int(name)
            parents[pid] = _parent_of(pid)
            if marker in _read(f"/proc/{pid}/environ").split(b"\0"):
                found.add(pid)
    me = os.getpid()
    for pid, parent in parents.items():
        ancestor = parent
        while ancestor not in {0, me}:
            ancestor = parents.get(ancestor, 0)
        if ancestor == me:
            found.add(pid)
    found.discard(me)
    return frozenset((pid, _command_of(pid)) for pid in found if not _is_spare(pid))


def read_engines() -> frozenset[tuple[int, str]]:
    """Processes that are part of an engine by their name or command."""
    found: set[tuple[int, str]] = set()
    for name in _names("/proc"):
        if name.isdigit():
            command = _command_of(int(name))
            title = _read(f"/proc/{name}/comm").decode(errors="replace")
            is_engine = "kedge.daemon" in command or "/kedged" in command
            if (title.startswith("kedge") or is_engine) and not _is_spare(int(name)):
                found.add((int(name), command))
    return frozenset(found)


def _is_worker(pid: int) -> bool:
    """Tell whether a shim's holder has this as its worker, which comes and goes while both live.

    The holder is counted; one without a holder is, too.
    """
    shim = b"kedge-shim\n"
    return (_read(f"/proc/{pid}/comm"), _read(f"/proc/{_parent_of(pid)}/comm")) == (shim, shim)


def _is_spare(pid: int) -> bool:
    """Tell whether this is a process an engine exchanges while nothing changes for its users.

    It is the shim a spawner keeps ready, the one that will make its container, or a shim's worker.
    """
    if _is_worker(pid):
        return True
    while _read(f"/proc/{pid}/comm") == b"kedge-spare\n":
        pid = _parent_of(pid)
        if _read(f"/proc/{pid}/comm") == b"kedge-spawner\n":
            return True
    return False


def _parent_of(pid: int) -> int:
    # pid (comm) state ppid: the name may hold anything, so count from its end.
    words = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(words[1]) if len(words) > 1 else 0


def _command_of(pid: int) -> str:
    text = _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
    if text:
        return text
    # A zombie has no command line any more.
    return _read(f"/proc/{pid}/stat").partition(b" ")[2].partition(b")")[0].decode() + ") zombie"


def read_listeners() -> frozenset[str]:
    """Listening TCP sockets as ``address:port inode``, as the kernel writes them."""
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        for line in _read(f"/proc/self/net/{table}").decode().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN:
                address, _, port = fields[1].rpartition(":")
                found.add(f"{table}:{address}:{int(port, 16)} {fields[9]}")
    return frozenset(found)


def _owner_of(inode: str, pids: set[int]) -> bool:
    """Tell whether one of ``pids`` holds the socket."""
    wanted = f"socket:[{inode}]"
    for pid in pids:
        for name in _names(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{name}") == wanted:
                    return True
            except OSError:
                continue
    return False


def read_legacy_tables() -> frozenset[str]:
    """Tables of the iptables that is not nftables; using it at all loads them."""
    return frozenset(
        f"{family} {table}"
        for family in ("ip", "ip6")
        for table in _read(f"/proc/net/{family}_tables_names").decode().split()
    )


def _compare_tables(before: dict[str, str], after: dict[str, str]) -> list[Leak]:
    leaks = [Leak("nft table", name, is_ours=False) for name in after.keys() - before.keys()]
    # Rules of others, such as iptables' own tables, are nothing a container engine may touch.
    leaks += [
        Leak("change of nft table", name, is_ours=False)
        for name in after.keys() & before.keys()
        if after[name] != before[name] and "kedge" not in name
    ]
    leaks += [
        Leak("loss of nft table", name, is_ours=False)
        for name in before.keys() - after.keys()
        if "kedge" not in name
    ]
    return leaks


def _names(directory: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(directory))
    except OSError:
        return frozenset()


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
