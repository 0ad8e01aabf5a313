"""How large containers' writable layers are, remembered as long as nothing can have changed.

The layer of a container that does not run changes by nothing but a start or a copy into it, so it
is counted once. That of a running one may change at any moment: it counts as current for as long as
counting would otherwise take more than a twentieth of the time.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from kedge.engine.containers import Container

_SHARE: Final = 20
_CURRENT_S: Final = 1.0


class _Counted(NamedTuple):
    size_bytes: int
    state: tuple[object, ...]
    until_s: float
    """Monotonic; of use while the container runs."""


class WritableSizes:
    """Sizes by container; belongs to the event loop's thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Know nothing yet."""
        self._monotonic = monotonic
        self._counted: dict[str, _Counted] = {}

    def find(self, container: Container) -> int | None:
        """Return the size where it is known and current."""
        found = self._counted.get(container.id)
        if found is None or found.state != _state(container):
            return None
        current = not container.record.active or self._monotonic() < found.until_s
        return found.size_bytes if current else None

    def begin(self, container: Container) -> Callable[[int], None]:
        """Return what takes the size that is about to be counted."""
        state, begun_s = _state(container), self._monotonic()

        def put(size_bytes: int) -> None:
            now_s = self._monotonic()
            pause_s = max(_CURRENT_S, (now_s - begun_s) * _SHARE)
            self._counted[container.id] = _Counted(size_bytes, state, now_s + pause_s)

        return put

    def keep(self, ids: frozenset[str]) -> None:
        """Forget every container but these."""
        for gone in self._counted.keys() - ids:
            del self._counted[gone]


def _state(container: Container) -> tuple[object, ...]:
    """Return what differs after whatever may have changed the layer of a stopped container."""
    record = container.record
    return (record.status, record.started_ns, record.finished_ns, container.copies_in)
