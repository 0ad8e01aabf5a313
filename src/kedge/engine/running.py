"""What every request to a running container asks first, with Docker's answers."""

from kedge.engine.containers import Container
from kedge.engine.state import Status
from kedge.errdefs import ConflictError
from kedge.shim.client import Shim


def running_shim(container: Container) -> Shim:
    """Return the shim of a container that runs or is paused.

    Raises:
        ConflictError: It does neither, or waits for its restart.
    """
    if container.record.status is Status.RESTARTING:
        raise ConflictError(
            f"Container {container.id} is restarting, wait until the container is running"
        )
    if container.shim is None or not container.record.alive:
        raise ConflictError(f"container {container.id} is not running")
    return container.shim
