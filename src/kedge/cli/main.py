"""``kedge``: find the verb, read its arguments, do it; every failure is one line.

Only the module of the one verb is imported. Global options come before the verb.
"""

import importlib
import os
import sys
from collections.abc import Sequence

from kedge import __version__
from kedge.cli.command import Command, make_parser
from kedge.cli.exitcodes import FAILED, OK, USAGE
from kedge.cli.table import COMMANDS, find_entry
from kedge.client.hosts import select_host
from kedge.client.http import EngineClient
from kedge.errdefs import KedgeError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except KedgeError as error:
        sys.stderr.write(f"kedge: {error}\n")
        code = FAILED
    except BrokenPipeError:
        # Whoever read our output has enough; the interpreter must not complain about it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        code = 130
    raise SystemExit(code)


def _dispatch(words: list[str]) -> int:
    host, words = _global_options(words)
    if not words or words[0] in {"-h", "--help", "help"}:
        if len(words) > 1:
            return _dispatch([words[1], "--help"])
        sys.stdout.write(_help())
        return OK
    if words[0] in {"-v", "--version"}:
        sys.stdout.write(f"kedge version {__version__}\n")
        return OK
    name, *rest = words
    entry = find_entry(name)
    if entry is None:
        sys.stderr.write(f"kedge: '{name}' is not a kedge command.{_nearest(name)}\n")
        return USAGE
    module = importlib.import_module(f"kedge.cli.{entry.module}")
    command: Command = module.COMMAND
    options = make_parser(name, command).parse_args(rest)
    client = EngineClient(select_host(host, os.environ))
    if command.needs_engine:
        _ensure_engine(client, explicit=bool(host))
    try:
        return command.run(options, client)
    finally:
        client.close()


def _global_options(words: list[str]) -> tuple[str, list[str]]:
    host = ""
    while words:
        word = words[0]
        if word in {"-H", "--host"} and len(words) > 1:
            host, words = words[1], words[2:]
        elif word.startswith("--host="):
            host, words = word.partition("=")[2], words[1:]
        elif word.startswith("-H") and len(word) > 2:
            host, words = word[2:], words[1:]
        else:
            break
    return host, words


def _ensure_engine(client: EngineClient, *, explicit: bool) -> None:
    """Start the default engine when it does not run; any other is only asked."""
    named = explicit or any(os.environ.get(name) for name in ("KEDGE_HOST", "DOCKER_HOST"))
    if named or client.is_reachable():
        return
    from kedge.cli.autostart import start_default_engine  # noqa: PLC0415 - rarely needed

    start_default_engine(client)


def _nearest(name: str) -> str:
    import difflib  # noqa: PLC0415 - only on a mistake

    found = difflib.get_close_matches(name, [entry.name for entry in COMMANDS], n=1)
    return f" Did you mean '{found[0]}'?" if found else " See 'kedge --help'."


def _help() -> str:
    lines = [
        "Usage: kedge [-H ADDRESS] COMMAND [OPTIONS]",
        "",
        "Containers without Docker: build images, run them, look at them.",
    ]
    for group in dict.fromkeys(entry.group for entry in COMMANDS if entry.group):
        lines += ["", f"{group}:"]
        lines += [f"  {e.name:<12}{e.summary}" for e in COMMANDS if e.group == group]
    lines += [
        "",
        "Global options:",
        "  -H, --host ADDRESS   engine to talk to (default unix:///run/kedge/kedge.sock;",
        "                       also from KEDGE_HOST or DOCKER_HOST)",
        "  -v, --version        show the client's version",
        "",
        "'kedge COMMAND --help' explains a command and shows examples.",
        "",
        "Start here:  kedge run --rm busybox echo hello",
        "",
    ]
    return "\n".join(lines)
