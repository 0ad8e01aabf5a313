"""``--ipc``, ``--pid`` and friends: whose namespaces a container lives in.

Docker's rules: another container's IPC must be shareable, and both must run. /dev/shm goes with the
IPC namespace, so it is shown from the other container's mounts; nothing is mounted on the host.
"""

from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.spec import BindMount
from kedge.errdefs import ConflictError, InvalidParameterError, NotFoundError

_JOIN = "container:"


def ipc_namespace(context: EngineContext, mode: str) -> str | None:
    """Return the path to join, ``""`` for a namespace of the container's own, None for the host's.

    Raises:
        NotFoundError: No such container.
        ConflictError: It does not run.
        InvalidParameterError: It does not share its IPC.
    """
    if mode == "host":
        return None
    if not mode.startswith(_JOIN):
        return ""
    donor = _running(context, mode, "IPC")
    if donor.record.host_config.ipc_mode in {"", "private", "none"}:
        raise InvalidParameterError(
            f"failed to join IPC namespace: can't join IPC of container {donor.id}: non-shareable "
            "IPC (hint: use IpcMode:shareable for the donor container)"
        )
    if donor.record.host_config.ipc_mode == "host":
        return None
    return f"/proc/{donor.record.pid}/ns/ipc"


def pid_namespace(context: EngineContext, mode: str) -> str | None:
    """Return the path to join, ``""`` for a namespace of the container's own, None for the host's.

    Raises:
        NotFoundError: No such container.
        ConflictError: It does not run.
    """
    if mode == "host":
        return None
    if not mode.startswith(_JOIN):
        return ""
    return f"/proc/{_running(context, mode, 'PID').record.pid}/ns/pid"


def is_process_donor(context: EngineContext, container: Container) -> bool:
    """Tell whether another container runs, or is about to, in the pid namespace of this one."""
    for other in context.containers:
        mode = other.record.host_config.pid_mode
        if not mode.startswith(_JOIN):
            continue
        try:
            donor = context.containers.get(mode.removeprefix(_JOIN))
        except (NotFoundError, InvalidParameterError):
            # It was renamed since: whose namespace that is cannot be told any more.
            return True
        if donor is container:
            return True
    return False


def shared_memory(context: EngineContext, mode: str) -> tuple[BindMount, ...]:
    """Return the mount of /dev/shm for a container that shares it with somebody."""
    place = "/dev/shm"  # noqa: S108 - a path in the container
    if mode == "host":
        return (BindMount(source=place, destination=place),)
    if not mode.startswith(_JOIN):
        return ()
    donor = _running(context, mode, "IPC").record
    source = place if donor.host_config.ipc_mode == "host" else f"/proc/{donor.pid}/root{place}"
    return (BindMount(source=source, destination=place),)


def _running(context: EngineContext, mode: str, kind: str) -> Container:
    donor = context.containers.get(mode.removeprefix(_JOIN))
    if not donor.record.alive:
        raise ConflictError(
            f"failed to join {kind} namespace: cannot join {kind} of a non running container: "
            f"{donor.id}"
        )
    return donor
