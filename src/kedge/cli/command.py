"""What a verb is: its flags, how many words it takes, and the function that does it."""

from __future__ import annotations

from kedge.cli.flags import Flag, Options, WordsError, read_options
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kedge.client.http import EngineClient


class Command(NamedTuple):
    """One verb."""

    usage: str
    """The command line after the verb, such as ``[OPTIONS] CONTAINER...``."""
    summary: str
    flags: Sequence[Flag]
    run: Callable[[Options, EngineClient], int]
    examples: Sequence[tuple[str, str]] = ()
    """Command line and what it does, shown by ``--help``."""
    at_least: int = 0
    at_most: int = -1
    """Number of words it takes besides flags; -1 is any."""
    runs_program: bool = False
    """Whether everything after the first word belongs to a program in a container."""
    needs_engine: bool = True
    alone_with: str = ""
    """The switch with which it needs none."""
    needs_host: bool = True
    """Whether it matters which engine is meant; otherwise a broken context is no obstacle."""
    failure_code: int = 1
    """Exit code where the engine cannot be reached or refuses."""
    complete: str = ""
    """What completes its words, as in `Flag.complete`."""


def read_command_line(name: str, command: Command, words: Sequence[str]) -> Options:
    """Return the options of a verb.

    Raises:
        UsageError: The command line is malformed; `WordsError` for their number.
        HelpRequestedError: Help was asked for.
    """
    options = read_options(command.flags, words, interspersed=not command.runs_program)
    count = len(options.words)
    if count < command.at_least or (command.at_most >= 0 and count > command.at_most):
        raise WordsError(_expected(name, command.at_least, command.at_most))
    return options


def _expected(name: str, at_least: int, at_most: int) -> str:
    if at_most == 0:
        return f"'kedge {name}' accepts no arguments"
    if at_least == at_most:
        how_many = f"{at_least}"
    elif at_most < 0:
        how_many = f"at least {at_least}"
    elif at_least == 0:
        how_many = f"at most {at_most}"
    else:
        how_many = f"at least {at_least} and at most {at_most}"
    plural = "" if how_many.split()[-1] == "1" else "s"
    return f"'kedge {name}' requires {how_many} argument{plural}"
