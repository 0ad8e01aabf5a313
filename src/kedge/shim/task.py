"""What a shim needs from whatever runs its container; the real one is `kedge.shim.runtime_task`.

A *task* is containerd's word for a container that has processes. The monitor owns streams, status
and requests and knows no namespace; the task owns the processes' kernel side. Tests put a plain
child process in its place.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeAlias

from kedge.lib.jsontypes import JsonObject
from kedge.shim.holder import HolderLine
from kedge.shim.luggage import Luggage
from kedge.shim.messages import CreateRequest, ExecRequest
from kedge.shim.streams import Pipes


class ExecProcess(NamedTuple):
    """A further process; a child of the shim."""

    pid: int
    pidfd: int
    terminal: int
    """Master of its terminal, -1 without one."""


class OomAlarm(Protocol):
    """Says when the container has run out of memory."""

    @property
    def fd(self) -> int:
        """A descriptor that is readable when there is something to `take`."""
        ...

    def take(self) -> bool:
        """Read from it, and tell whether memory has run out since the last time."""
        ...

    def close(self) -> None:
        """Close the descriptor."""
        ...


class Task(Protocol):
    """One container's processes and cgroup. Every method may raise a `KedgeError` or `OSError`."""

    @property
    def pid(self) -> int:
        """The init's process id on the host; a child of the shim."""
        ...

    @property
    def death_fd(self) -> int:
        """A descriptor that is readable once the init is dead; -1 where this process is its parent.

        It is the task's.
        """
        ...

    @property
    def terminal(self) -> int:
        """Master of the init's terminal, -1 without one."""
        ...

    @property
    def created_mountpoints(self) -> tuple[str, ...]:
        """Paths that were made in the root file system because a mount needed them."""
        ...

    @property
    def dies_with_init(self) -> bool:
        """Whether the kernel kills all other processes when the init ends."""
        ...

    def start(self) -> None:
        """Let the init become the user's program; returns when it has."""
        ...

    def exec(self, request: ExecRequest, pipes: Pipes) -> ExecProcess:
        """Start one more process inside."""
        ...

    def signal(self, signum: int) -> None:
        """Send ``signum`` to the init."""
        ...

    def signal_all(self, signum: int) -> None:
        """Send ``signum`` to every process of the container."""
        ...

    def freeze(self) -> None:
        """Stop every process."""
        ...

    def thaw(self) -> None:
        """Let every process run again."""
        ...

    def pids(self) -> list[int]:
        """Return the host's ids of all processes."""
        ...

    def stats(self) -> JsonObject:
        """Return the cgroup's counters."""
        ...

    def update(self, resources: JsonObject) -> None:
        """Change the limits an OCI ``linux.resources`` object mentions."""
        ...

    def oom_kills(self) -> int:
        """Return how many processes the kernel killed for want of memory."""
        ...

    def reap(self) -> int:
        """Wait until the init is dead, and return its wait status; only once."""
        ...

    def try_pack(self, luggage: Luggage, /) -> JsonObject | None:
        """Return what another process makes an equal task of; None where none can."""
        ...

    def open_oom_alarm(self) -> OomAlarm:
        """Watch the cgroup's memory from now on."""
        ...

    def delete(self) -> None:
        """Kill what is left and remove what the container had on the host, once init is reaped."""
        ...


ResumeTask: TypeAlias = Callable[[CreateRequest, JsonObject, Mapping[str, int], HolderLine], Task]
"""Makes a task of what one in another process has packed, and of the descriptors it named."""

MakeTask: TypeAlias = Callable[[CreateRequest, Pipes], Task]
"""Makes a container whose init waits; closes nothing, and on failure leaves nothing."""


class Prepare(Protocol):
    """Gets ready to make one task."""

    def __call__(self, holder: HolderLine, *, ahead: bool) -> MakeTask:
        """Return what makes it; ``ahead`` says that there is time to do something before."""
        ...
