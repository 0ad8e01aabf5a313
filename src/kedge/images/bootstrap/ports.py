"""What bootstrap asks of the engine: bytes of a URL, a command in a container, a listener.

The engine implements the Protocols, because neither the HTTP client nor the spawner is below this
package.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from kedge.oci.mounts import Mount


class BootstrapEvent(NamedTuple):
    """One line of progress in the shape of a pull's."""

    status: str
    id: str = ""
    current: int = 0
    total: int = 0


Listener = Callable[[BootstrapEvent], None]


class Fetcher(Protocol):
    """Reads from package mirrors; thread-safe."""

    def open(self, url: str) -> AbstractContextManager[Iterator[bytes]]:
        """Return the pieces of a document.

        Raises:
            NotFoundError: The mirror answers that it has no such file.
            UnavailableError: No usable answer, also while the pieces are read; trying again may
                help. The text names the host and the cause.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command in a container without a network."""

    container_id: str
    rootfs: tuple[Mount, ...]
    args: tuple[str, ...]
    env: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    """Beside the standard mounts; sources are paths of the host."""


class StepEnd(NamedTuple):
    """How a command ended."""

    exit_code: int
    created_mountpoints: tuple[str, ...]
    """Paths in the container that exist only because something was mounted on them."""


class StepRunner(Protocol):
    """Runs one command in a container of its own and leaves nothing of it behind."""

    def run(
        self, step: Step, on_output: Callable[[bytes], None], cancel: threading.Event
    ) -> StepEnd:
        """Run ``step`` to its end; kill it when ``cancel`` is set and return then.

        ``on_output`` gets what the command prints, from one thread at a time.
        """
        ...
