"""Where an exporter's bytes go when they belong to whoever asked for the build.

Each front door implements `Sinks` in its own protocol: the builder knows neither HTTP nor gRPC.
An exporter that fails raises inside the block, and the door must not let the receiver take what it
got for the whole.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from kedge.archive.members import Member
from kedge.archive.writer import Writable


class Sinks(Protocol):
    """The receiving ends of one build's outputs, by their position in the request."""

    def stream(self, index: int) -> AbstractContextManager[Writable]:
        """Open the receiver of an archive; leaving without an exception completes it."""
        ...

    def files(self, index: int, members: Iterable[Member]) -> None:
        """Send a tree: folders before what is in them, each member's content before the next."""
        ...
