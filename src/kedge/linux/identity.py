"""Whose files a thread makes: file-system ids with every capability kept, credentials(7)."""

from __future__ import annotations

from kedge.lib.blocks import contextmanager
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.capabilities import get_capabilities, set_capabilities
from kedge.linux.process import set_filesystem_ids

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def acting_as(uid: int, gid: int) -> Generator[None, None, None]:
    """Make files as ``uid`` and ``gid`` inside the block, with all capabilities of this thread.

    Where ids are mapped, the host's root is nobody, and the kernel refuses him a new file. Other
    threads of the process are not concerned.
    """
    sets = get_capabilities()
    set_filesystem_ids(uid, gid)
    try:
        # Leaving uid 0 took the capabilities over files away.
        set_capabilities(sets)
        yield
    finally:
        set_filesystem_ids(0, 0)
        set_capabilities(sets)
