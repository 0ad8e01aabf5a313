"""A container made and driven by another OCI runtime (``--runtime crun``) by its command line.

The runtime makes and starts processes; they become this shim's children, because it is a subreaper,
and from then on signals, the cgroup and exits are handled as for a container of `kedge.runtime`.
The root file system is mounted in a mount namespace of this shim's, which the runtime inherits, so
nothing of it is ever seen on the host. What other runtimes do not know is taken out of the bundle
by `kedge.shim.foreign_spec`.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Generator, Sequence
from typing import Final

from kedge.errdefs import ConflictError, KedgeError, NotFoundError, SystemFailureError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.linux import mount as lm
from kedge.linux import namespaces as ns
from kedge.linux import prctl, process
from kedge.oci.runtime_spec_resources import parse_resources
from kedge.runtime import rootfs
from kedge.runtime.cgroups import make_cgroup
from kedge.runtime.cgroups.oom_alarm import OomAlarm
from kedge.runtime.filesystems import mount_root
from kedge.shim.cgroup_stats import encode_stats
from kedge.shim.foreign_spec import load_document, make_standard, take_special_binds
from kedge.shim.luggage import Luggage
from kedge.shim.messages import CreateRequest, ExecRequest
from kedge.shim.streams import Pipes
from kedge.shim.task import ExecProcess

_STATE: Final = "oci"
_LOG: Final = "oci.log"
_CONSOLE: Final = "tty.sock"
_UNIFIED: Final = "/sys/fs/cgroup/unified"
_CONSOLE_WAIT_S: Final = 10.0
# The kernel's words, which clients look for in messages as Go spells them.
_GO_SPELLING: Final = (
    ("No such file or directory", "no such file or directory"),
    ("Permission denied", "permission denied"),
    ("Is a directory", "is a directory"),
)


class ForeignTask:
    """One container of another OCI runtime."""

    def __init__(self, request: CreateRequest, pipes: Pipes) -> None:
        """Make the container up to the point where its init waits for `start`.

        Raises:
            KedgeError: The runtime refuses, in its own words; nothing is left behind.
        """
        self._request = request
        self._runtime = request.runtime
        self._execs = 0
        document = load_document(request.bundle)
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        own_pid = make_standard(
            document, cgroup_path=request.cgroup_path, network=f"/proc/{os.getpid()}/fd/{own}"
        )
        self.dies_with_init = own_pid
        self.death_fd = -1
        self.created_mountpoints: tuple[str, ...] = ()
        self._cgroup = make_cgroup(request.cgroup_path)
        self._network = os.open(f"/proc/{os.getppid()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._mounts = self._make_mounts(document)
        # The runtime leaves the init behind, and execs.
        prctl.set_child_subreaper()
        self.pid, self.terminal = self._create(pipes)
        self._pidfd = os.pidfd_open(self.pid)

    def _make_mounts(self, document: JsonObject) -> int:
        """Return a mount namespace in which only the runtime sees the container's root."""
        bundle = self._request.bundle
        home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            ns.unshare(ns.CLONE_NEWNS)
            try:
                rootfs.isolate_propagation("")
                self._stand_in(document)
                with open(os.path.join(bundle, "config.json"), "wb") as stream:
                    stream.write(json.dumps(document).encode())
                os.close(mount_root(self._request.rootfs, os.path.join(bundle, "rootfs")))
                _hide_second_hierarchy()
                return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                ns.setns(home, ns.CLONE_NEWNS)
        finally:
            os.close(home)

    def _stand_in(self, document: JsonObject) -> None:
        """Mount binds with options of kedge's own, and have the runtime bind the mounts."""
        for position, (entry, planned) in enumerate(take_special_binds(document)):
            place = os.path.join(self._request.run_dir, f"bind-{position}")
            source = rootfs.open_sources([planned])[0].fd
            rootfs.attach_at(source, place)
            entry["source"] = place

    def _create(self, pipes: Pipes) -> tuple[int, int]:
        request = self._request
        pid_file = os.path.join(request.run_dir, "init.pid")
        words = ["create", "--bundle", request.bundle, "--pid-file", pid_file]
        try:
            if request.terminal:
                with self._console() as (name, listener):
                    self._run([*words, "--console-socket", name, request.id], doing="create")
                    terminal = _receive_terminal(listener)
            else:
                self._run([*words, request.id], doing="create", streams=pipes.theirs)
                terminal = -1
        except BaseException:
            with contextlib.suppress(KedgeError, OSError):
                self._run(["delete", "--force", request.id], doing="delete")
            raise
        return _read_pid(pid_file), terminal

    def start(self) -> None:
        """Let the init become the user's program; returns when it has."""
        self._run(["start", self._request.id], doing="start")

    def exec(self, request: ExecRequest, pipes: Pipes) -> ExecProcess:
        """Start one more process inside."""
        self._execs += 1
        stem = os.path.join(self._request.run_dir, f"exec-{self._execs}")
        document: JsonObject = {**request.process, "terminal": request.terminal}
        with open(f"{stem}.json", "wb") as stream:
            stream.write(json.dumps(document).encode())
        words = ["exec", "--detach", "--process", f"{stem}.json", "--pid-file", f"{stem}.pid"]
        try:
            if request.terminal:
                with self._console() as (name, listener):
                    self._run([*words, "--console-socket", name, self._request.id], doing="exec")
                    terminal = _receive_terminal(listener)
            else:
                self._run([*words, self._request.id], doing="exec", streams=pipes.theirs)
                terminal = -1
            pid = _read_pid(f"{stem}.pid")
        finally:
            for name in (f"{stem}.json", f"{stem}.pid"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
        return ExecProcess(pid, os.pidfd_open(pid), terminal)

    def reap(self) -> int:
        """Wait until the init is dead, and return its wait status; only once."""
        return os.waitpid(self.pid, 0)[1]

    def try_pack(self, _luggage: Luggage) -> None:
        """Stay: the init is this process's child, because the runtime was."""

    def signal(self, signum: int) -> None:
        """Send ``signum`` to the init."""
        try:
            process.send_signal(self._pidfd, signum)
        except ProcessLookupError as error:
            raise ConflictError(f"container {self._request.id} is not running") from error

    def signal_all(self, signum: int) -> None:
        """Send ``signum`` to every process of the container."""
        if signum == signal.SIGKILL:
            self._cgroup.kill()
            return
        for pid in self._cgroup.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    def freeze(self) -> None:
        """Stop every process."""
        self._cgroup.freeze()

    def thaw(self) -> None:
        """Let every process run again."""
        self._cgroup.thaw()

    def pids(self) -> list[int]:
        """Return the host's ids of all processes."""
        return self._cgroup.pids()

    def stats(self) -> JsonObject:
        """Return the cgroup's counters."""
        return encode_stats(self._cgroup.stats())

    def update(self, resources: JsonObject) -> None:
        """Change the limits an OCI ``linux.resources`` object mentions."""
        self._cgroup.update(parse_resources(resources))

    def oom_kills(self) -> int:
        """Return how many processes the kernel killed for want of memory."""
        return self._cgroup.oom_kills()

    def open_oom_alarm(self) -> OomAlarm:
        """Watch the cgroup's memory from now on."""
        return OomAlarm(self._cgroup.directories())

    def delete(self) -> None:
        """Have the runtime forget the container, and remove what is left of its cgroup."""
        if self._cgroup.pids():
            self._cgroup.kill()
        with contextlib.suppress(KedgeError):
            self._run(["delete", "--force", self._request.id], doing="delete")
        if self._cgroup.exists():
            self._cgroup.delete()

    @contextlib.contextmanager
    def _console(self) -> Generator[tuple[str, socket.socket]]:
        """Listen where the runtime is to send a terminal; paths of sockets are short."""
        directory = os.open(self._request.run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        place = os.path.join(self._request.run_dir, _CONSOLE)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(place)
                listener.bind(f"/proc/self/fd/{directory}/{_CONSOLE}")
                listener.listen(1)
                listener.settimeout(_CONSOLE_WAIT_S)
                # Relative to the bundle and to where the runtime is run, which are the same.
                yield _CONSOLE, listener
        finally:
            os.close(directory)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place)

    def _run(
        self, words: Sequence[str], *, doing: str, streams: Sequence[int] = (-1, -1, -1)
    ) -> None:
        """Run the runtime to its end.

        Raises:
            NotFoundError: There is no such program.
            SystemFailureError: It fails; what it says.
        """
        run_dir, log = self._request.run_dir, os.path.join(self._request.run_dir, _LOG)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(log)
        root = os.path.join(run_dir, _STATE)
        program = self._runtime[0]
        command = [*self._runtime, "--root", root, "--log", log, "--log-format", "json", *words]
        stdin, stdout, stderr = (each if each >= 0 else subprocess.DEVNULL for each in streams)
        try:
            # A runtime takes the network it finds itself in for the host's.
            with (
                _being_in(self._mounts, "mnt", ns.CLONE_NEWNS),
                _being_in(self._network, "net", ns.CLONE_NEWNET),
            ):
                done = subprocess.run(
                    command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=run_dir, check=False
                )
        except OSError as error:
            raise NotFoundError(
                f"OCI runtime {doing} failed: cannot run {program}: "
                f"{os.strerror(error.errno or 0).lower()}: check --add-runtime"
            ) from error
        if done.returncode:
            name = os.path.basename(program)
            raise SystemFailureError(
                f"OCI runtime {doing} failed: {name}: {_last_words(log) or done.returncode}"
            )


@contextlib.contextmanager
def _being_in(namespace: int, kind: str, flag: int) -> Generator[None]:
    """Visit a namespace; a child started meanwhile stays there."""
    home = os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        ns.setns(namespace, flag)
        try:
            yield
        finally:
            ns.setns(home, flag)
    finally:
        os.close(home)


def _hide_second_hierarchy() -> None:
    """On a hybrid host, show the hierarchies of cgroup v1 alone, as kedge itself sees such a host.

    crun refuses to run where both versions have controllers.
    """
    if os.path.ismount(_UNIFIED):
        lm.umount(_UNIFIED, lm.MNT_DETACH)


def _receive_terminal(listener: socket.socket) -> int:
    try:
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
    except TimeoutError as error:
        raise SystemFailureError("the OCI runtime has sent no terminal") from error
    if not fds:
        raise SystemFailureError("the OCI runtime has sent no terminal")
    os.set_inheritable(fds[0], False)  # noqa: FBT003
    return fds[0]


def _read_pid(path: str) -> int:
    with open(path, encoding="ascii") as stream:
        return int(stream.read())


def _last_words(log: str) -> str:
    """Return the last error a runtime has logged."""
    said = ""
    try:
        with open(log, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                with contextlib.suppress(ValueError):
                    entry: Json = json.loads(line)
                    if isinstance(entry, dict) and entry.get("level") in {"error", "fatal"}:
                        said = str(entry.get("msg", ""))
    except OSError:
        return ""
    for kernel, go in _GO_SPELLING:
        said = said.replace(kernel, go)
    return said
