"""`Mount`: the one data type snapshots produce and the runtime consumes."""

from __future__ import annotations

from kedge.lib.hints import NamedTuple


class Mount(NamedTuple):
    """One mount, in the shape of an OCI runtime-spec ``mounts`` entry.

    A NamedTuple because the shim and the runtime import it, and ``dataclasses`` costs them 30 ms.
    """

    type: str
    """File-system type; ``bind`` for a bind mount."""
    source: str
    options: tuple[str, ...] = ()
    destination: str = ""
    """Absolute path inside the container; empty for the root file system itself."""
