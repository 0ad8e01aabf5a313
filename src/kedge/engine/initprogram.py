"""``--init``: the program that is a container's first process in place of the user's.

It reaps what is orphaned and passes signals on. It comes from the host, shown read-only in the
container, so it must be a static program; which one, and why: docs/adr.
"""

import os
import shutil
from typing import Final

from kedge.errdefs import SystemFailureError

INSIDE: Final = "/sbin/docker-init"
_CANDIDATES: Final = ("docker-init", "tini-static", "catatonit")


def find_init(path: str) -> str:
    """Return the host path of the init to use.

    Args:
        path: The engine's ``--init-path``: a path or a program's name; empty for the default.

    Raises:
        SystemFailureError: There is none.
    """
    for name in (path,) if path else _CANDIDATES:
        found = shutil.which(name)
        if found is not None:
            return os.path.realpath(found)
    wanted = path or _CANDIDATES[0]
    raise SystemFailureError(
        f'exec: "{wanted}": executable file not found in $PATH: --init needs a static init '
        "program on this host: install one, or name it with the engine's --init-path"
    )
