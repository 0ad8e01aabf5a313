"""``kedge``: find the verb, read its arguments, do it; every failure is one line.

Only the module of the one verb is imported. Global options come before the verb.
"""

from __future__ import annotations

import importlib
import os
import sys

from kedge import __version__
from kedge.cli.command import Command, read_command_line
from kedge.cli.exitcodes import FAILED, OK, USAGE
from kedge.cli.flags import HelpRequestedError, UsageError, WordsError, nearest
from kedge.cli.table import COMMANDS, GROUPS, Entry, find_entry, find_in_group, group_entries
from kedge.cli.target import GlobalOptions, select_target
from kedge.client.hosts import DEFAULT_HOST
from kedge.client.http import EngineClient
from kedge.errdefs import KedgeError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except KedgeError as error:
        sys.stderr.write(f"kedge: {error}\n")
        code = error.exit_code if isinstance(error, UsageError) else USAGE
    except BrokenPipeError:
        # Whoever read our output has enough; the interpreter must not complain about it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"kedge: {what}{(error.strerror or str(error)).lower()}\n")
        code = FAILED
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        code = 130
    if arguments is not None:
        raise SystemExit(code)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process at once: taking an interpreter apart costs a tenth of a short command."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        pass
    finally:
        os._exit(code)


def _dispatch(words: list[str]) -> int:
    target, words = _global_options(words)
    if words and words[0] == "help":
        words = [*words[1:], "--help"]
    if not words or words[0] in {"-h", "--help"}:
        from kedge.cli.helptext import general_help  # noqa: PLC0415 - rarely needed

        sys.stdout.write(general_help())
        return OK
    if words[0] in {"-v", "--version"}:
        sys.stdout.write(f"kedge version {__version__}\n")
        return OK
    if words[0].startswith("-"):
        raise UsageError(f"unknown flag: {words[0]} (see 'kedge --help')")
    if words[0] in GROUPS:
        return _dispatch_in_group(target, words)
    name, *rest = words
    entry = find_entry(name)
    if entry is None:
        known = [*(entry.name for entry in COMMANDS), *GROUPS]
        hint = nearest(name, known) or ": see 'kedge --help'"
        raise WordsError(f"'{name}' is not a kedge command{hint}")
    return _run(target, name, entry, rest)


def _dispatch_in_group(target: GlobalOptions, words: list[str]) -> int:
    group, *rest = words
    if not rest or rest[0] in {"-h", "--help"}:
        from kedge.cli.helptext import group_help  # noqa: PLC0415 - rarely needed

        sys.stdout.write(group_help(group, group_entries(group)))
        return OK
    if group == "compose":
        from kedge.cli.compose.projectflags import flags_after_verb  # noqa: PLC0415 - rarely needed
        from kedge.client.signals import interrupt_on_signals  # noqa: PLC0415 - as above

        interrupt_on_signals()
        rest = flags_after_verb(rest)
    verb, *rest = rest
    entry = find_in_group(group, verb)
    if entry is None:
        known = [name for name, _ in group_entries(group)]
        hint = nearest(verb, known) or f": see 'kedge {group} --help'"
        raise WordsError(f"'{group} {verb}' is not a kedge command{hint}")
    if entry.module == "inspect":
        rest = [f"--type={group}", *rest]
    return _run(target, f"{group} {verb}", entry, rest)


def _run(target: GlobalOptions, name: str, entry: Entry, words: list[str]) -> int:
    module = importlib.import_module(f"kedge.cli.{entry.module}")
    command: Command = module.COMMAND
    try:
        options = read_command_line(name, command, words)
    except HelpRequestedError:
        from kedge.cli.helptext import command_help  # noqa: PLC0415 - rarely needed

        width = min(os.get_terminal_size().columns, 100) if sys.stdout.isatty() else 100
        sys.stdout.write(command_help(name, command, width=width))
        return OK
    except UsageError as error:
        return _tell_usage(name, error)
    client = EngineClient()
    try:
        if command.needs_host:
            client.host = select_target(target, os.environ)
        alone = bool(command.alone_with) and options.on(command.alone_with)
        if command.needs_engine and not alone:
            _ensure_engine(client)
        return command.run(options, client)
    except UsageError as error:
        return _tell_usage(name, error)
    except KedgeError as error:
        sys.stderr.write(f"kedge: {error}\n")
        return command.failure_code
    finally:
        client.close()


def _tell_usage(name: str, error: UsageError) -> int:
    sys.stderr.write(f"kedge: {error}\nSee 'kedge {name} --help'.\n")
    # compat: Docker's client ends with 125 where Docker Compose ends with 1.
    return FAILED if name.startswith("compose ") else error.exit_code


def _global_options(words: list[str]) -> tuple[GlobalOptions, list[str]]:
    """Return what stands before the verb, and the rest."""
    if not words or not words[0].startswith("-"):
        return GlobalOptions(), words
    from kedge.cli.globalflags import read_global_options  # noqa: PLC0415 - rarely needed

    return read_global_options(words)


def _ensure_engine(client: EngineClient) -> None:
    """Start the default engine when it does not run; any other is only asked."""
    named = any(os.environ.get(name) for name in ("KEDGE_HOST", "DOCKER_HOST"))
    if named or client.host != DEFAULT_HOST or client.is_reachable():
        return
    from kedge.cli.autostart import start_default_engine  # noqa: PLC0415 - rarely needed

    start_default_engine(client)
