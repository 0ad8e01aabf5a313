"""What running containers print and when they exit, as messages of one queue.

One thread follows the project's events, one each container's output. Attaching happens before a
container starts, so nothing it prints is lost; when the engine starts it again, its output is taken
up where it ended.
"""

import json
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias, TypeVar

from kedge.client.hosts import Host
from kedge.client.http import EngineClient, Query, Response
from kedge.client.marked import follow_log
from kedge.client.signals import LOOK_S
from kedge.client.streams import Demultiplexer
from kedge.compose import labels
from kedge.compose.clients import ClientPool
from kedge.errdefs import KedgeError
from kedge.lib.fields import number, text
from kedge.lib.jsontypes import JsonObject

_CHUNK: Final = 65536


class Exited(NamedTuple):
    """A container's program ended."""

    container: str
    name: str
    service: str
    code: int


class Started(NamedTuple):
    """A container was started, by this command or by the engine."""

    container: str
    name: str
    service: str


class Lost(NamedTuple):
    """The event stream ended: the engine has gone."""

    reason: str


class Finished(NamedTuple):
    """What this command had to start has started, or failed to."""

    error: BaseException | None


Message: TypeAlias = Exited | Started | Lost | Finished
Write: TypeAlias = Callable[[str, int, bytes], None]
Taken = TypeVar("Taken")


class Follower:
    """Follows one project."""

    def __init__(
        self,
        pool: ClientPool,
        project: str,
        write: Write,
        gone: Callable[[Host], None] | None = None,
    ) -> None:
        """Hand output to ``write`` with the container's name and the stream's number.

        With ``gone``, which is called with the address of an engine that has ended, logs go on
        with the engine that comes back, each byte once.
        """
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._pool = pool
        self._project = project
        self._write = write
        self._gone = gone
        self._readers: dict[str, threading.Thread] = {}
        self._covered: set[str] = set()
        self._lock = threading.Lock()

    def next(self) -> Message:
        """Return the next message; a signal interrupts the wait, whenever it comes."""
        return take(self.messages)

    def follow_events(self) -> None:
        """Begin to follow events; returns when none can be missed any more."""
        ready = threading.Event()
        threading.Thread(target=self._follow_events, args=(ready,), daemon=True).start()
        while not ready.wait(LOOK_S):
            pass

    def _follow_events(self, ready: threading.Event) -> None:
        client = EngineClient(self._pool.host)
        filters = json.dumps(
            {
                "type": ["container"],
                "event": ["start", "die"],
                "label": [*labels.project_filter(self._project), f"{labels.ONEOFF}=False"],
            }
        )
        try:
            answer = client.get("/events", {"filters": filters})
            ready.set()
            for message in answer.messages():
                self._take(message)
            reason = "the engine ended the stream of events"
        except (KedgeError, OSError) as error:
            reason = str(error)
        ready.set()
        self.messages.put(Lost(reason))

    def _take(self, message: JsonObject) -> None:
        container = text(message, "Actor", "ID")
        attributes = ("Actor", "Attributes")
        name = text(message, *attributes, "name")
        service = text(message, *attributes, labels.SERVICE)
        if text(message, "Action") == "die":
            code = int(text(message, *attributes, "exitCode") or "0")
            self.messages.put(Exited(container, name, service, code))
        else:
            self.messages.put(Started(container, name, service))

    def attach(self, container: str, name: str) -> None:
        """Follow the output of a container that is about to start, or that runs.

        Raises:
            KedgeError: The engine refuses.
        """
        client = EngineClient(self._pool.host)
        query = {"stream": True, "stdout": True, "stderr": True}
        connection, pending, headers = client.hijack(f"/containers/{container}/attach", query)
        feed = self._feed(name, headers.get("content-type", ""))

        def read() -> None:
            data = pending
            try:
                while True:
                    if data:
                        feed(data)
                    data = connection.recv(_CHUNK)
                    if not data:
                        return
            except (OSError, KedgeError):
                # The engine has gone, which the stream of events tells.
                return
            finally:
                connection.close()

        self._covered.add(container)
        self._read(container, read)

    def ended(self, container: str) -> None:
        """Take everything a container printed before its exit; what comes next is another run."""
        self.drain(container)
        self._covered.discard(container)

    def covers(self, container: str) -> bool:
        """Whether what a container prints from its last known start on is or was read here.

        A short one may have ended, and its reader with it, before its start is looked at.
        """
        return container in self._covered or self.follows(container)

    def resume(self, container: str, name: str, query: "Query | None" = None) -> None:
        """Follow the output of a container the engine started again, from that start on.

        Args:
            container: Its id.
            name: Its name.
            query: ``timestamps`` and the like.
        """

        def start() -> Query:
            with self._pool.client() as client:
                record = client.get(f"/containers/{container}/json").object()
            return {**(query or {}), "tail": "", "since": text(record, "State", "StartedAt")}

        self.drain(container)
        self._read(container, lambda: self._read_log(container, name, start))

    def read_log(self, container: str, name: str, query: Query) -> None:
        """Follow the log of a container, to its end where it does not run.

        Args:
            container: Its id.
            name: Its name.
            query: ``tail``, ``since`` and the like.
        """
        self._read(container, lambda: self._read_log(container, name, lambda: query))

    def _read_log(self, container: str, name: str, ask: Callable[[], Query]) -> None:
        try:
            query: Query = {"stdout": True, "stderr": True, "follow": True, **ask()}
            path = f"/containers/{container}/logs"
            with self._pool.client() as client:
                if self._gone is None:
                    self._show(name, client.get(path, query))
                else:
                    follow_log(
                        client, path, query,
                        lambda stream, data: self._write(name, stream, data),
                        lambda answer: self._show(name, answer),
                        self._gone,
                    )  # fmt: skip
        except (KedgeError, OSError):
            # It was removed, or the engine has gone, which the stream of events tells.
            return

    def _show(self, name: str, answer: Response) -> None:
        feed = self._feed(name, answer.headers.get("content-type", ""))
        for chunk in answer.chunks():
            feed(chunk)

    def _feed(self, name: str, content_type: str) -> Callable[[bytes], None]:
        if "raw-stream" in content_type:
            return lambda data: self._write(name, 1, data)
        return Demultiplexer(lambda stream, data: self._write(name, stream, data)).feed

    def _read(self, container: str, read: Callable[[], None]) -> None:
        thread = threading.Thread(target=read, daemon=True)
        with self._lock:
            self._readers[container] = thread
        thread.start()

    def follows(self, container: str) -> bool:
        """Whether output of a container is being read."""
        with self._lock:
            thread = self._readers.get(container)
        return thread is not None and thread.is_alive()

    def drain(self, container: str, seconds: float = 5.0) -> None:
        """Return when everything a container printed before it ended has been handed over."""
        with self._lock:
            thread = self._readers.get(container)
        if thread is not None:
            thread.join(seconds)


def take(results: "queue.SimpleQueue[Taken]") -> Taken:
    """Return what is put next; a signal interrupts the wait, whenever it comes."""
    while True:
        with suppress(queue.Empty):
            return results.get(timeout=LOOK_S)


def exit_code(pool: ClientPool, container: str) -> int:
    """Return the code a container ended with."""
    with pool.client() as client:
        return number(client.get(f"/containers/{container}/json").object(), "State", "ExitCode")
