"""What the daemons have in common as processes: their say, their limits, how they fail."""

import resource
import sys
from collections.abc import Generator
from contextlib import contextmanager

from kedge.errdefs import KedgeError


def say(text: str) -> None:
    """Write a line to standard error, at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def raise_file_limit() -> None:
    """Allow as many descriptors as may be had: each client that listens takes one or two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def failures_are_one_line(name: str) -> Generator[None, None, None]:
    """Turn a failure inside into one line under ``name`` and exit code 1."""
    try:
        yield
    except KedgeError as error:
        say(f"{name}: {error}")
        raise SystemExit(1) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"{name}: {where}{error.strerror or error}")
        raise SystemExit(1) from None
