"""Where a pull-through registry gets what it does not have; provided by the daemon."""

from typing import Protocol

from kedge.server.response import StreamResponse


class Origin(Protocol):
    """Another registry."""

    async def ensure_manifest(self, repository: str, reference: str) -> None:
        """Bring a manifest into the store, or see that what is there is still current.

        Returns without a change where the origin cannot be reached, or has no such manifest:
        what the store has then decides.
        """
        ...

    async def stream_blob(
        self, repository: str, digest: str, *, head_only: bool
    ) -> StreamResponse | None:
        """Return a blob as it comes in, or None when the store has it, or nobody.

        Args:
            repository: Where it is asked for.
            digest: Which.
            head_only: Its size is enough.
        """
        ...
