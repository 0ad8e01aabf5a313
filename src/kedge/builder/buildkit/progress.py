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
    InStage,
    Notice,
    Output,
    PullProgress,
    StageFailed,
    StepDone,
    StepStarted,
    Warned,
)
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.jsontypes import JsonObject
from kedge.oci.hashing import sha256_digest

_STREAMS: Final = {"stdout": 1, "stderr": 2}
_BILLION: Final = 1_000_000_000
_NO_STAGE: Final = -1
_CANCELLED: Final = "context canceled"
"""How clients know a step that was not to blame."""


class Progress:
    """The status of one build: written from its thread, read by any number of clients."""

    def __init__(self, reference: str) -> None:
        """Begin with nothing to say about the build ``reference``."""
        self._reference = reference
        self._loop = asyncio.get_running_loop()
        self._records: list[Record] = []
        self._ended = False
        self._changed = asyncio.Condition()
        self._steps: dict[int, Record] = {}
        self._failed = _NO_STAGE
        self._number = 0
        self._cached = 0
        self._warnings = 0
        self.source: tuple[str, bytes] | None = None
        """Name and content of the Dockerfile, once it is here."""

    @property
    def steps(self) -> Steps:
        """How it went so far, in numbers."""
        done = self._number - len(self._steps)
        return Steps(self._cached, self._number, done, self._warnings)

    # -- from the build's threads, one at a time

    def tell(self, event: Event, lane: int = _NO_STAGE) -> None:
        """Take an event of the builder.

        Args:
            event: What happened.
            lane: The stage in which it did; stages have a step each that runs.
        """
        match event:
            case InStage():
                self.tell(event.event, event.stage)
            case StepStarted():
                stage = f"{event.stage} " if event.stage else ""
                self._begin(f"[{stage}{event.number}/{event.total}] {event.text}", lane)
            case CacheHit():
                self._cached += 1
                self._change(lane, cached=True)
            case StepDone() | ExportDone():
                self._complete(lane)
            case StageFailed():
                self._failed = lane
            case Warned():
                self.warn(event)
            case ExportStarted():
                self._begin(event.text, lane)
            case _:
                self._print(event, lane)

    def _print(self, event: Event, lane: int) -> None:
        match event:
            case CacheMiss():
                self._log(f"not in cache: {event.reason}\n", _STREAMS["stderr"], lane)
            case Output():
                self._log(event.text, _STREAMS.get(event.stream, 1), lane)
            case PullProgress():
                self._layer(event.message, lane)
            case Notice(is_excerpt=False):
                self._log(f"{event.text}\n", _STREAMS["stderr"], lane)
            case _:
                pass

    def begin(self, name: str) -> None:
        """Begin a step that is none of the Dockerfile's."""
        self._begin(name, _NO_STAGE)

    def complete(self, error: str = "") -> None:
        """End the steps that run; an ``error`` is that of the stage that failed."""
        blamed = self._failed
        if blamed not in self._steps:
            blamed = next(iter(self._steps), _NO_STAGE)
        for lane in list(self._steps):
            self._complete(lane, error if lane == blamed else error and _CANCELLED)

    def _complete(self, lane: int, error: str = "") -> None:
        if error:
            self._change(lane, completed=_now(), error=error)
        else:
            self._change(lane, completed=_now())
        self._steps.pop(lane, None)

    def warn(self, event: Warned) -> None:
        """Warn about something that is allowed, with the lines of the file where they are known."""
        self._warnings += 1
        warning: Record = {
            "vertex": self._vertex(_NO_STAGE),
            "level": 1,
            "short": event.text.encode(),
        }
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

    def _begin(self, name: str, lane: int) -> None:
        self._complete(lane)
        self._number += 1
        digest = sha256_digest(f"{self._reference}\0{self._number}".encode())
        self._steps[lane] = {"digest": digest, "name": name, "started": _now()}
        self._add({"vertexes": [dict(self._steps[lane])]})

    def _vertex(self, lane: int) -> str:
        """Return the digest of the step that runs in a lane, or else of any that runs."""
        step = self._steps.get(lane) or next(iter(self._steps.values()), None)
        if step is None:
            self._begin("[internal] build", lane)
            step = self._steps[lane]
        return str(step["digest"])

    def _change(self, lane: int, **changes: Value) -> None:
        step = self._steps.get(lane)
        if step is not None:
            step |= changes
            self._add({"vertexes": [dict(step)]})

    def _log(self, text: str, stream: int, lane: int) -> None:
        message = text.encode(errors="surrogateescape")
        self._add(
            {
                "logs": [
                    {
                        "vertex": self._vertex(lane),
                        "timestamp": _now(),
                        "stream": stream,
                        "msg": message,
                    }
                ]
            }
        )

    def _layer(self, message: JsonObject, lane: int) -> None:
        identity, status = message.get("id"), message.get("status")
        if not isinstance(identity, str) or not isinstance(status, str):
            return
        detail = message.get("progressDetail")
        amounts = detail if isinstance(detail, dict) else {}
        record: Record = {
            "ID": f"{identity} {status.lower()}",
            "vertex": self._vertex(lane),
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
