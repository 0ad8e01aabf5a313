"""Descriptors on their way from one worker of a shim to the next, each with a name. Pure."""

from collections.abc import Mapping, Sequence

from kedge.lib.jsontypes import Json


class Luggage:
    """What the next worker gets besides words."""

    __slots__ = ("_kept", "_waited")

    def __init__(self) -> None:
        self._waited: dict[str, int] = {}
        self._kept: dict[str, int] = {}

    def wait_for(self, name: str, fd: int) -> None:
        """Take a descriptor along; when it has something to read, or breaks, there is work."""
        self._kept.pop(name, None)
        self._waited[name] = fd

    def keep(self, name: str, fd: int) -> None:
        """Take a descriptor along; -1 is none."""
        if fd >= 0 and name not in self._waited:
            self._kept[name] = fd

    @property
    def waited(self) -> list[int]:
        """What is waited for."""
        return [*self._waited.values()]

    @property
    def kept(self) -> list[int]:
        """What is not."""
        return [*self._kept.values()]

    def names(self) -> list[Json]:
        """Return the names, in the order of `waited` and `kept`."""
        return [*self._waited, *self._kept]


def unpack(names: Sequence[str], fds: Sequence[int]) -> Mapping[str, int]:
    """Return descriptors by name."""
    return dict(zip(names, fds, strict=True))
