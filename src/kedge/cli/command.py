"""What a verb is: how its arguments are read, and the function that does it.

Docker's grammar: options before the first positional belong to the verb, everything after it is
left alone where the verb runs a program (``run``, ``exec``); short flags combine (``-itd``).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from kedge.cli.exitcodes import USAGE
from kedge.client.http import EngineClient


class Command(NamedTuple):
    """One verb: its usage, how to read its arguments, and what to do with them."""

    usage: str
    summary: str
    configure: Callable[["Parser"], None]
    run: Callable[[argparse.Namespace, EngineClient], int]
    examples: Sequence[tuple[str, str]] = ()
    """Command line and what it does, shown by ``--help``."""
    needs_engine: bool = True


class Parser(argparse.ArgumentParser):
    """argparse with Docker's way of failing: one line, and how to get help."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 125, as docker does for a malformed command line."""
        sys.stderr.write(f"{self.prog}: {message}\nSee '{self.prog} --help'.\n")
        raise SystemExit(USAGE)


def make_parser(name: str, command: Command) -> Parser:
    """Return the parser of one verb."""
    examples = "\n".join(f"  {line}\n      {text}" for line, text in command.examples)
    parser = Parser(
        prog=f"kedge {name}",
        usage=f"kedge {name} {command.usage}".rstrip(),
        description=command.summary,
        epilog=f"Examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.configure(parser)
    return parser
