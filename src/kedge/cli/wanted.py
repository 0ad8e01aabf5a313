"""What an attached session connects."""

from typing import NamedTuple


class Wanted(NamedTuple):
    """Streams, terminal and signals of a session."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    sig_proxy: bool = True
