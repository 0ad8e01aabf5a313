"""What every cgroup version can do for a container."""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kedge.oci.runtime_spec_resources import Resources
    from kedge.runtime.cgroups.stats import CgroupStats


class Cgroup(Protocol):
    """One container's place in every hierarchy; the object may outlive or precede it."""

    @property
    def version(self) -> int:
        """1 or 2."""
        ...

    @property
    def path(self) -> str:
        """The path asked for, relative to the hierarchy's root."""
        ...

    def exists(self) -> bool:
        """Tell whether it has been created and not yet deleted, by this or any other process."""
        ...

    def directories(self) -> dict[str, str]:
        """Return the absolute directory per controller; on v2 one entry with the name ``""``."""
        ...

    def shown_directories(self) -> dict[str, str]:
        """Return the directories a container sees, where a controller it is not in may be, too."""
        ...

    def create(self, resources: Resources) -> None:
        """Make the directories and set the limits; on failure nothing is left behind.

        Device rules are completed with the devices every container has
        (`kedge.runtime.cgroups.devices.DEFAULT_RULES`); no rules at all means only those.

        Raises:
            KedgeError: A limit is malformed, refused, or its controller is not there.
        """
        ...

    def join_files(self) -> tuple[str, ...]:
        """Return the files to each of which a process with one thread writes ``0`` to move in."""
        ...

    def join_self(self, beside: int = 0) -> None:
        """Move the calling process, which must have one thread, into the cgroup.

        Args:
            beside: A process of the container. On v2 a cgroup takes no processes once those
                inside have divided it among cgroups of their own (an init, an engine); the
                caller is then moved to where this process is.
        """
        ...

    def join_fd(self) -> int:
        """Return a new descriptor for ``CLONE_INTO_CGROUP``, or -1 where that cannot work."""
        ...

    def join(self, pid: int) -> None:
        """Move process ``pid`` with all its threads into the cgroup."""
        ...

    def update(self, resources: Resources) -> None:
        """Change the limits that ``resources`` mentions and leave the others."""
        ...

    def freeze(self) -> None:
        """Stop every process of the cgroup; returns when all have stopped."""
        ...

    def thaw(self) -> None:
        """Let every process of the cgroup run again."""
        ...

    def is_frozen(self) -> bool:
        """Tell whether the cgroup is frozen or being frozen."""
        ...

    def kill(self) -> None:
        """Send SIGKILL to every process, also to frozen ones and to those being forked."""
        ...

    def pids(self) -> list[int]:
        """Return the ids of all processes in the cgroup and below it."""
        ...

    def stats(self) -> CgroupStats:
        """Return the counters of now; what the kernel does not account for is zero."""
        ...

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed here for want of memory."""
        ...

    def delete(self) -> None:
        """Remove the directories, waiting a moment for the kernel; absent is fine.

        Raises:
            ConflictError: Processes still live in it.
        """
        ...

    def delete_empty_ancestors(self) -> None:
        """Remove the directories above, up to the root, that nobody uses; for an engine's end."""
        ...
