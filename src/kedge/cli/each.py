"""Doing one thing to many objects: each is reported alone, and one failure fails the command."""

from __future__ import annotations

import sys

from kedge.cli.exitcodes import FAILED, OK
from kedge.errdefs import KedgeError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def for_each(names: Sequence[str], action: Callable[[str], None], *, echo: bool = True) -> int:
    """Do ``action`` to every name, print those that went well, and return the exit code."""
    code = OK
    for name in names:
        try:
            action(name)
        except KedgeError as error:
            sys.stderr.write(f"kedge: {error}\n")
            code = FAILED
        else:
            if echo:
                sys.stdout.write(f"{name}\n")
                sys.stdout.flush()
    return code
