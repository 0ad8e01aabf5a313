"""``--init``: the program that is a container's first process in place of the user's.

It reaps what is orphaned and passes signals on. It is shown read-only in the container, whatever
the image has, so it must be a static program: kedge's own for this machine (docs/adr/0005), or
what the engine's ``--init-path`` names (tini, catatonit: the same command line).
"""

import os
import shutil
from typing import Final

from kedge.errdefs import SystemFailureError

INSIDE: Final = "/sbin/docker-init"
_OWN: Final = os.path.join(os.path.dirname(__file__), "init")
# What Docker calls its own, for a machine that kedge has no program for.
_FALLBACK: Final = "docker-init"


def find_init(path: str) -> str:
    """Return the host path of the init to use.

    Args:
        path: The engine's ``--init-path``: a path or a program's name; empty for the default.

    Raises:
        SystemFailureError: There is none.
    """
    if not path:
        own = os.path.join(_OWN, f"docker-init-{os.uname().machine}")
        if os.access(own, os.X_OK):
            return own
    found = shutil.which(path or _FALLBACK)
    if found is not None:
        return os.path.realpath(found)
    raise SystemFailureError(
        f'exec: "{path or _FALLBACK}": executable file not found in $PATH: --init needs a static '
        "init program: name one with the engine's --init-path"
    )
