"""What a build reports, as BuildKit's clients show it: vertexes, their logs, and warnings.

A vertex is one instruction. Its digest only has to be the same for the same instruction of one
build, so it is made of the build's reference and the number of the step. Everything is kept until
the build is forgotten: a client may ask for the status before the build begins or after its end.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from kedge.builder.buildkit.history import Steps
from kedge.builder.buildkit.wire import Record, Value
from kedge.builder.events import (
    CacheHit,
    CacheMiss,
    Event,
    ExportDone,
    ExportStarted,
    Notice,
    Output,
    PullProgress,
    StepDone,
    StepStarted,
    Warned,
)
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.jsontypes import JsonObject
from kedge.oci.hashing import sha256_digest

_STREAMS: Final = {"stdout": 1, "stderr": 2}
_BILLION: Final = 1_000_000_000


class Progress:
    """The status of one build: written from its thread, read by any number of clients."""

    def __init__(self, reference: str) -> None:
        """Begin with nothing to say about the build ``reference``."""
        self._reference = reference
        self._loop = asyncio.get_running_loop()
        self._records: list[Record] = []
        self._ended = False
        self._changed = asyncio.Condition()
        self._step: Record | None = None
        self._number = 0
        self._cached = 0
        self._warnings = 0
        self.source: tuple[str, bytes] | None = None
        """Name and content of the Dockerfile, once it is here."""

    @property
    def steps(self) -> Steps:
        """How it went so far, in numbers."""
        done = self._number - (self._step is not None)
        return Steps(self._cached, self._number, done, self._warnings)

    # -- from the build's thread

    def tell(self, event: Event) -> None:
        """Take an event of the builder."""
        match event:
            case StepStarted():
                stage = f"{event.stage} " if event.stage else ""
                self._begin(f"[{stage}{event.number}/{event.total}] {event.text}")
            case CacheHit():
                self._cached += 1
                self._change(cached=True)
            case CacheMiss():
                self._log(f"not in cache: {event.reason}\n", _STREAMS["stderr"])
            case Output():
                self._log(event.text, _STREAMS.get(event.stream, 1))
            case StepDone() | ExportDone():
                self.complete()
            case PullProgress():
                self._layer(event.message)
            case Notice(is_excerpt=False):
                self._log(f"{event.text}\n", _STREAMS["stderr"])
            case Warned():
                self.warn(event)
            case ExportStarted():
                self._begin(event.text)
            case _:
                pass

    def begin(self, name: str) -> None:
        """Begin a step that is none of the Dockerfile's."""
        self._begin(name)

    def complete(self, error: str = "") -> None:
        """End the step that runs."""
        if self._step is None:
            return
        if error:
            self._change(completed=_now(), error=error)
        else:
            self._change(completed=_now())
        self._step = None

    def warn(self, event: Warned) -> None:
        """Warn about something that is allowed, with the lines of the file where they are known."""
        self._warnings += 1
        warning: Record = {"vertex": self._vertex(), "level": 1, "short": event.text.encode()}
        check = event.check
        if check is not None:
            warning |= {"detail": [check.rule.description.encode()], "url": check.rule.url}
        if check is not None and self.source is not None:
            filename, content = self.source
            warning |= {
                "info": {"filename": filename, "data": content, "language": "Dockerfile"},
                "ranges": [{"start": {"line": check.line}, "end": {"line": check.end_line}}],
            }
        self._add({"warnings": [warning]})

    def end(self) -> None:
        """Say that nothing more comes."""
        self._loop.call_soon_threadsafe(self._end)

    def _begin(self, name: str) -> None:
        self.complete()
        self._number += 1
        digest = sha256_digest(f"{self._reference}\0{self._number}".encode())
        self._step = {"digest": digest, "name": name, "started": _now()}
        self._add({"vertexes": [dict(self._step)]})

    def _vertex(self) -> str:
        if self._step is None:
            self._begin("[internal] build")
        return str(self._step["digest"]) if self._step else ""

    def _change(self, **changes: Value) -> None:
        if self._step is not None:
            self._step |= changes
            self._add({"vertexes": [dict(self._step)]})

    def _log(self, text: str, stream: int) -> None:
        message = text.encode(errors="surrogateescape")
        self._add(
            {
                "logs": [
                    {
                        "vertex": self._vertex(),
                        "timestamp": _now(),
                        "stream": stream,
                        "msg": message,
                    }
                ]
            }
        )

    def _layer(self, message: JsonObject) -> None:
        identity, status = message.get("id"), message.get("status")
        if not isinstance(identity, str) or not isinstance(status, str):
            return
        detail = message.get("progressDetail")
        amounts = detail if isinstance(detail, dict) else {}
        record: Record = {
            "ID": f"{identity} {status.lower()}",
            "vertex": self._vertex(),
            "timestamp": _now(),
            "started": _now(),
        }
        for name in ("current", "total"):
            amount = amounts.get(name)
            if isinstance(amount, int):
                record[name] = amount
        if not amounts:
            record["completed"] = _now()
        self._add({"statuses": [record]})

    def _add(self, record: Record) -> None:
        self._loop.call_soon_threadsafe(self._append, record)

    # -- on the loop

    def _append(self, record: Record) -> None:
        self._records.append(record)
        self._wake()

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = self._loop.create_task(notify())
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    async def follow(self) -> AsyncIterator[Record]:
        """Yield everything there is to say, from the beginning to the end."""
        position = 0
        while True:
            async with self._changed:
                while not self._ended and position == len(self._records):
                    await self._changed.wait()
            waiting = self._records[position:]
            position += len(waiting)
            if waiting:
                yield _merged(waiting)
            elif self._ended:
                return


_tasks: set["asyncio.Task[None]"] = set()


def _merged(records: list[Record]) -> Record:
    """Return several messages as one."""
    merged: Record = {}
    for record in records:
        for name, values in record.items():
            found = merged.setdefault(name, [])
            if isinstance(found, list) and isinstance(values, list):
                found += values
    return merged


def _now() -> dict[str, Value]:
    seconds, nanos = divmod(SYSTEM_CLOCK.time_ns(), _BILLION)
    return {"seconds": seconds, "nanos": nanos}
