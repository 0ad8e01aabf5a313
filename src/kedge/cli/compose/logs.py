"""``kedge compose logs``: what services have written, in the order it was written.

With ``-f`` containers that are started later join in, an engine that ends is waited for, and it
ends when no container runs any more.
"""

import threading
from collections.abc import Sequence
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.logprinter import LogPrinter, wants_color
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import INDEX_FLAG, find_containers, regular
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, switch, value
from kedge.cli.logs import check_tail, log_moment
from kedge.client.hosts import Host
from kedge.client.http import EngineClient, Query
from kedge.client.marked import patiently, tell_gone
from kedge.compose.application import Application
from kedge.compose.clients import ClientPool
from kedge.compose.following import Exited, Finished, Follower, Lost, Started
from kedge.compose.loglines import merged, read_lines
from kedge.compose.observed import Container, list_containers
from kedge.errdefs import NotFoundError


def _run(options: Options, client: EngineClient) -> int:
    tail = options.text("tail")
    check_tail(tail)
    index = options.integer("index")
    if index and len(options.words) != 1:
        raise UsageError("--index needs exactly one service")
    app, found = find_containers(options, client, options.words)
    containers = [one for one in regular(found) if not index or one.number == index]
    if index and not containers:
        raise NotFoundError(f'service "{options.words[0]}" has no container #{index}')
    query: Query = {
        "stdout": True,
        "stderr": True,
        "timestamps": options.on("timestamps"),
        "tail": tail,
        "since": log_moment(options.text("since")),
        "until": log_moment(options.text("until")),
    }
    shown = _Shown(app, options)
    shown.printer.expect([shown.name(one.name) for one in containers])
    if options.on("follow"):
        _Following(client, app, shown).run(containers, query, joins=not index)
    else:
        _print(client, containers, query, shown, timestamps=options.on("timestamps"))
    return OK


class _Shown:
    """How lines are shown."""

    def __init__(self, app: Application, options: Options) -> None:
        self._prefix = f"{app.name}{app.separator}"
        self.services = frozenset(options.words)
        ansi = options.text("ansi") or app.env.get("COMPOSE_ANSI", "") or "auto"
        self.printer = LogPrinter(
            (),
            prefix=not options.on("no-log-prefix"),
            color=wants_color(ansi, no_color=options.on("no-color")),
        )

    def name(self, container: str) -> str:
        """Return a container's name without its project's."""
        return container.removeprefix(self._prefix)

    def write(self, container: str, stream: int, data: bytes) -> None:
        """Print what a container wrote."""
        self.printer.write(self.name(container), stream, data)


def _print(
    client: EngineClient,
    containers: Sequence[Container],
    query: Query,
    shown: _Shown,
    *,
    timestamps: bool,
) -> None:
    sources = [read_lines(EngineClient(client.host), one.id, one.name, query) for one in containers]
    for line in merged(sources):
        text = line.stamp + b" " + line.text if timestamps else line.text
        shown.write(line.name, line.stream, text + b"\n")


class _Following:
    """``-f``."""

    def __init__(self, client: EngineClient, app: Application, shown: _Shown) -> None:
        self._client = client
        self._project = app.name
        self._shown = shown
        self._follower = Follower(ClientPool(client.host), app.name, shown.write, self._tell_gone)
        self._told = threading.Lock()
        self._known: set[str] = set()

    def run(self, containers: Sequence[Container], query: Query, *, joins: bool) -> None:
        """Print what containers have written and write, until none of them runs.

        Args:
            containers: Those there are.
            query: For the engine.
            joins: Whether containers that are started later are followed, too.
        """
        self._follower.follow_events()
        for one in containers:
            self._follower.read_log(one.id, one.name, query)
        self._known = {one.id for one in containers}
        while self._is_alive(joins=joins):
            self._take(query, joins=joins)
        for one in containers:
            self._follower.drain(one.id)
            self._shown.printer.end(self._shown.name(one.name))

    def _take(self, query: Query, *, joins: bool) -> None:
        """Wait for the next exit, and take starts meanwhile."""
        while True:
            match self._follower.next():
                case Exited(container, name):
                    self._follower.drain(container)
                    self._shown.printer.end(self._shown.name(name))
                    return
                case Started(container, name, service):
                    wanted = container in self._known or self._wants(service, joins=joins)
                    if wanted and not self._follower.follows(container):
                        self._known.add(container)
                        self._shown.printer.expect([self._shown.name(name)])
                        self._follower.resume(container, name, query)
                case Lost():
                    self._tell_gone(self._client.host)
                    self._follow_again(query, joins=joins)
                    return
                case Finished():
                    pass

    def _tell_gone(self, host: Host) -> None:
        """Say once what the reader of each log and that of the events find out."""
        if self._told.acquire(blocking=False):
            tell_gone(host)

    def _follow_again(self, query: Query, *, joins: bool) -> None:
        """Follow the engine that comes back, and what was started before its events were read."""
        patiently(self._client, lambda: self._client.get("/_ping").read())
        if self._told.locked():
            self._told.release()
        self._follower.follow_events()
        for one in regular(list_containers(self._client, self._project)):
            if one.is_running and not self._follower.follows(one.id):
                self._follower.messages.put(Started(one.id, one.name, one.service))

    def _is_alive(self, *, joins: bool) -> bool:
        return any(
            one.is_running and (one.id in self._known or self._wants(one.service, joins=joins))
            for one in regular(list_containers(self._client, self._project))
        )

    def _wants(self, service: str, *, joins: bool) -> bool:
        return joins and (not self._shown.services or service in self._shown.services)


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Show what services have written to their output and error output",
    flags=(
        switch("follow", "Keep showing new lines, of new containers, too", short="f"),
        INDEX_FLAG,
        switch("no-color", "Print without colours"),
        switch("no-log-prefix", "Print lines without the container's name"),
        value("since", "TIME", "Show lines after a moment (2026-01-31T12:00:00) or since (10m)"),
        value("tail", "N", "Show the last N lines of each container only", short="n",
              default="all"),
        switch("timestamps", "Show when each line was written", short="t"),
        value("until", "TIME", "Show lines before a moment, or until (10m) ago"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose logs", "Everything, in the order it was written"),
        ("kedge compose logs -f -n 20 web", "Follow one service"),
        ("kedge compose logs --since 10m -t", "The last ten minutes with times"),
    ),
    complete="service",
)  # fmt: skip
