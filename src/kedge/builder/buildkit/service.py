"""The services on ``/grpc``: Control and the gateway's LLBBridge.

Source: BuildKit's ``api/services/control`` and ``frontend/gateway``. What is not here is answered
as "unimplemented", which clients take as "this engine does not do that".
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from grpclib.const import Cardinality, Status
from grpclib.const import Handler as Method
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from kedge import errdefs
from kedge.builder.buildkit import messages
from kedge.builder.buildkit.answers import (
    Usage,
    answer_metadata,
    asked_of,
    caches_of,
    details,
    promise,
    single_ref,
    status_of,
    told,
    usage_record,
)
from kedge.builder.buildkit.history import HISTORY_EVENT, HISTORY_REQUEST, HISTORY_UPDATE, History
from kedge.builder.buildkit.references import find_reference
from kedge.builder.buildkit.rpc import ByteStream, CallStream, run_server
from kedge.builder.buildkit.session import Session, Sessions
from kedge.builder.buildkit.solving import Around, Asked, BuildEngine, Solving, read_outputs
from kedge.builder.buildkit.wire import (
    Record,
    Schema,
    Value,
    number,
    part,
    parts,
    strings,
    text,
    texts,
)
from kedge.builder.checks.calls import Call
from kedge.builder.clientfolders import ClientFolders
from kedge.errdefs import KedgeError
from kedge.lib.ids import new_id
from kedge.oci.platforms import Platform

_CONTROL: Final = "/moby.buildkit.v1.Control"
_BRIDGE: Final = "/moby.buildkit.v1.frontend.LLBBridge"
_BUILD_ID: Final = "buildkit-controlapi-buildid"
_CALLS: Final = {
    "frontend.lint": Call.CHECK,
    "frontend.outline": Call.OUTLINE,
    "frontend.targets": Call.TARGETS,
}
_BRIDGE_CAPS: Final = (
    "solve.base", "resolveimage", "readfile", "return", "returnmap", "proto.refarray",
    "frontend.inputs", "reference.output", "gateway.solve.metadata", "gateway.solve.evaluate",
    "gateway.evaluate", "importcaches", "frontend.caps",
)  # fmt: skip
_BUILD_CAPS: Final = (
    "source.image", "source.image.resolvemode", "source.local", "source.local.unique",
    "source.local.sessionid", "source.local.includepatterns", "source.local.followpaths",
    "source.local.excludepatterns", "source.local.sharedkeyhint", "source.git",
    "source.git.keepgitdir", "source.git.fullurl", "source.git.subdir", "source.git.checksum",
    "source.http", "source.http.checksum", "exec.meta.base", "exec.meta.network",
    "exec.meta.proxyenv", "exec.meta.security", "exec.mount.bind", "exec.mount.cache",
    "exec.mount.cache.sharing", "exec.mount.selector", "exec.mount.tmpfs", "exec.mount.secret",
    "exec.mount.ssh", "exec.secretenv", "file.base", "constraints", "platform",
    "meta.ignorecache", "meta.description", "meta.exportcache", "exporter.sourcedateepoch",
    "exporter.multiple", "exporter.image.attestations", "gc.freespacefilter",
)  # fmt: skip
_KEPT_S: Final = 60.0

GrpcStream = Stream[Record, Record]


_Row = tuple[str, Callable[[GrpcStream], Awaitable[None]], Cardinality, Schema, Schema]


class Pruning(NamedTuple):
    """What shall be removed of the cache."""

    filters: tuple[str, ...]
    all: bool
    keep_ns: int
    reserved_bytes: int
    max_used_bytes: int
    min_free_bytes: int


class CacheEngine(BuildEngine, Protocol):
    """What the services need of the engine beside building."""

    @property
    def version(self) -> str:
        """The engine's version."""
        ...

    @property
    def identity(self) -> str:
        """The engine's id."""
        ...

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """What can be built and run here."""
        ...

    async def usage(self) -> list[Usage]:
        """Return what the cache holds."""
        ...

    async def prune(self, pruning: Pruning) -> list[Usage]:
        """Remove what ``pruning`` says and return it."""
        ...


class BuildkitServer:
    """Everything BuildKit's clients call on one engine."""

    def __init__(self, engine: CacheEngine, folders: ClientFolders) -> None:
        """Serve ``engine``; clients' folders are kept in ``folders``."""
        self._engine = engine
        self._sessions = Sessions()
        self._around = Around(folders, self._sessions, self._promised_by)
        self._solvings: dict[str, Solving] = {}
        self._promised: dict[str, Solving] = {}
        self._history = History(self._drop)

    async def serve_control(self, stream: ByteStream) -> None:
        """Answer a client on a connection of ``/grpc`` until it ends."""
        await run_server(stream, self)

    async def serve_session(self, session: Session, stream: ByteStream) -> None:
        """Keep a client's session on a connection of ``/session`` until it ends."""
        await self._sessions.serve(session, stream)

    def close(self) -> None:
        """Cancel every build."""
        for solving in self._solvings.values():
            solving.cancel()

    def __mapping__(self) -> Mapping[str, Method]:
        """Return the methods by path, as grpclib asks for them."""
        return {
            path: Method(_guarded(function), cardinality, asked, answer)
            for path, function, cardinality, asked, answer in (*self._control(), *self._bridge())
        }

    def _control(self) -> "list[_Row]":
        unary, server = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM
        both = Cardinality.STREAM_STREAM
        return [
            (f"{_CONTROL}/Info", self.info, unary, messages.EMPTY, messages.INFO),
            (f"{_CONTROL}/ListWorkers", self.workers, unary, messages.EMPTY, messages.WORKERS),
            (
                f"{_CONTROL}/Solve",
                self.solve,
                unary,
                messages.SOLVE_REQUEST,
                messages.SOLVE_RESPONSE,
            ),
            (
                f"{_CONTROL}/Status",
                self.status,
                server,
                messages.STATUS_REQUEST,
                messages.STATUS_RESPONSE,
            ),
            (
                f"{_CONTROL}/DiskUsage",
                self.disk_usage,
                unary,
                messages.DISK_USAGE_REQUEST,
                messages.DISK_USAGE,
            ),
            (f"{_CONTROL}/Session", self.session, both, messages.BYTES, messages.BYTES),
            (
                f"{_CONTROL}/ListenBuildHistory",
                self.listen_history,
                server,
                HISTORY_REQUEST,
                HISTORY_EVENT,
            ),
            (
                f"{_CONTROL}/UpdateBuildHistory",
                self.update_history,
                unary,
                HISTORY_UPDATE,
                messages.EMPTY,
            ),
            (f"{_CONTROL}/Prune", self.prune, server, messages.PRUNE_REQUEST, messages.USAGE),
        ]

    def _bridge(self) -> "list[_Row]":
        unary = Cardinality.UNARY_UNARY
        return [
            (f"{_BRIDGE}/Ping", self.ping, unary, messages.EMPTY, messages.PONG),
            (
                f"{_BRIDGE}/Solve",
                self.gateway_solve,
                unary,
                messages.GATEWAY_SOLVE,
                messages.GATEWAY_SOLVED,
            ),
            (
                f"{_BRIDGE}/Evaluate",
                self.evaluate,
                unary,
                messages.EVALUATE_REQUEST,
                messages.EMPTY,
            ),
            (
                f"{_BRIDGE}/Return",
                self.return_result,
                unary,
                messages.RETURN_REQUEST,
                messages.EMPTY,
            ),
        ]

    # -- Control

    async def info(self, stream: GrpcStream) -> None:
        """Say which version this is."""
        await stream.recv_message()
        await stream.send_message({"buildkitVersion": self._version()})

    async def workers(self, stream: GrpcStream) -> None:
        """Describe the one worker."""
        await stream.recv_message()
        await stream.send_message({"record": [self._worker()]})

    async def solve(self, stream: GrpcStream) -> None:
        """Carry out a build: what its gateway calls return, or what this call names itself."""
        request = await _message(stream)
        solving = self._solving(text(request, "Ref"))
        try:
            self._begin(request)
            solving.entitlements = frozenset(strings(request, "Entitlements"))
            solving.session.set_result(await self._sessions.find(text(request, "Session")))
            outputs = read_outputs(
                [(text(one, "Type"), texts(one, "Attrs")) for one in parts(request, "Exporters")]
            )
            if text(request, "Frontend"):
                identity = new_id()
                solving.ask(
                    identity, asked_of(text(request, "Frontend"), texts(request, "FrontendAttrs"))
                )
            else:
                identity = single_ref(await solving.returned)
            response: dict[str, str] = {}
            if identity:
                made = await solving.make(identity, outputs, caches_of(request))
                response = dict(made.response)
            self._history.completed(solving.reference, solving.progress.steps, response=response)
            await stream.send_message({"ExporterResponse": dict(response)})
        except KedgeError as error:
            self._failed(solving, told(error), status_of(error))
            solving.progress.complete(told(error))
            raise GRPCError(status_of(error), told(error), details(solving)) from error
        except asyncio.CancelledError:
            solving.cancel()
            self._failed(solving, "build cancelled", Status.CANCELLED)
            raise
        finally:
            solving.is_solved = True
            solving.progress.end()
            asyncio.get_running_loop().call_later(_KEPT_S, self._settle, solving)

    async def session(self, stream: GrpcStream) -> None:
        """Keep a session whose connection is this very call: several targets share one so."""
        metadata = dict(stream.metadata.items()) if stream.metadata else {}
        session = Session(
            str(metadata.get("x-docker-expose-session-uuid", "")),
            shared_key=str(metadata.get("x-docker-expose-session-sharedkey", "")),
        )
        await stream.send_initial_metadata()
        await self._sessions.serve(session, CallStream(stream))

    async def listen_history(self, stream: GrpcStream) -> None:
        """Tell which builds there were, and are."""
        request = await _message(stream)
        if any(strings(request, "Filter")):
            raise errdefs.NotSupportedError("filters of the build history are not supported")
        await stream.send_initial_metadata()
        events = self._history.listen(
            ref=text(request, "Ref"),
            active_only=bool(request.get("ActiveOnly")),
            early_exit=bool(request.get("EarlyExit")),
            limit=number(request, "Limit"),
        )
        async with contextlib.aclosing(events):
            async for event in events:
                await stream.send_message(event)

    async def update_history(self, stream: GrpcStream) -> None:
        """Pin or remove a build of the history."""
        request = await _message(stream)
        self._history.update(
            text(request, "Ref"),
            pinned=bool(request.get("Pinned")),
            delete=bool(request.get("Delete")),
            finalize=bool(request.get("Finalize")),
        )
        await stream.send_message({})

    async def status(self, stream: GrpcStream) -> None:
        """Tell what a build does until it ends."""
        request = await _message(stream)
        async for record in self._solving(text(request, "Ref")).progress.follow():
            await stream.send_message(record)

    async def disk_usage(self, stream: GrpcStream) -> None:
        """List what the cache holds."""
        await stream.recv_message()
        records: list[Value] = [usage_record(one) for one in await self._engine.usage()]
        await stream.send_message({"record": records})

    async def prune(self, stream: GrpcStream) -> None:
        """Remove cache and tell what is gone."""
        request = await _message(stream)
        pruning = Pruning(
            filters=tuple(each for each in strings(request, "filter") if each),
            all=bool(request.get("all")),
            keep_ns=number(request, "keepDuration"),
            reserved_bytes=number(request, "reservedSpace"),
            max_used_bytes=number(request, "maxUsedSpace"),
            min_free_bytes=number(request, "minFreeSpace"),
        )
        removed = await self._engine.prune(pruning)
        for one in removed:
            await stream.send_message(usage_record(one))

    # -- the gateway

    async def ping(self, stream: GrpcStream) -> None:
        """Say what this engine can do."""
        await stream.recv_message()
        await stream.send_message(
            {
                "FrontendAPICaps": [{"ID": one, "Enabled": True} for one in _BRIDGE_CAPS],
                "LLBCaps": [{"ID": one, "Enabled": True} for one in _BUILD_CAPS],
                "Workers": [self._worker()],
            }
        )

    async def gateway_solve(self, stream: GrpcStream) -> None:
        """Promise a result of the frontend, or answer a question about its Dockerfile."""
        request = await _message(stream)
        solving = self._of(stream)
        options = texts(request, "FrontendOpt")
        if not text(request, "Frontend"):
            await stream.send_message(promise(find_reference(part(request, "Definition"))))
            return
        asked = asked_of(text(request, "Frontend"), options, part(request, "FrontendInputs"))
        question = options.get("requestid", "")
        if question:
            await stream.send_message(await self._answer(solving, question, asked))
            return
        # A result may be asked for by another build, which has no session to wait for.
        await asyncio.shield(solving.session)
        identity = new_id()
        solving.ask(identity, asked)
        self._history.described(solving.reference, text(request, "Frontend"), options)
        self._promised[identity] = solving
        if request.get("Evaluate"):
            await solving.make(identity)
        await stream.send_message(promise(identity))

    async def _answer(self, solving: Solving, question: str, asked: Asked) -> Record:
        call = _CALLS.get(question)
        if call is None:
            raise errdefs.NotSupportedError(f"the frontend does not know the request {question}")
        answer = await solving.answer(call, asked)
        return {"result": {"metadata": answer_metadata(answer)}}

    async def evaluate(self, stream: GrpcStream) -> None:
        """Build a promised result now."""
        request = await _message(stream)
        await self._of(stream).make(text(request, "Ref"))
        await stream.send_message({})

    async def return_result(self, stream: GrpcStream) -> None:
        """Take what the client wants as the result of its build, or why there is none."""
        request = await _message(stream)
        returned = self._of(stream).returned
        error = part(request, "error")
        if not returned.done():
            if number(error, "code"):
                returned.set_exception(errdefs.UnavailableError(text(error, "message")))
            else:
                returned.set_result(part(request, "result"))
        await stream.send_message({})

    def _begin(self, request: Record) -> None:
        if not request.get("Internal"):
            exporters: list[Value] = [*parts(request, "Exporters")]
            self._history.started(
                text(request, "Ref"),
                frontend=text(request, "Frontend"),
                attrs=texts(request, "FrontendAttrs"),
                exporters=exporters,
            )

    def _failed(self, solving: Solving, message: str, status: Status) -> None:
        error: Record = {"code": status.value, "message": message}
        self._history.completed(solving.reference, solving.progress.steps, response={}, error=error)

    def _settle(self, solving: Solving) -> None:
        """Forget what other builds might have asked of one that ended a while ago."""
        self._promised = {key: one for key, one in self._promised.items() if one is not solving}
        if not self._history.keeps(solving.reference):
            self._drop(solving.reference)

    def _drop(self, reference: str) -> None:
        self._solvings.pop(reference, None)

    def _promised_by(self, identity: str) -> Solving | None:
        return self._promised.get(identity)

    def _solving(self, reference: str) -> Solving:
        if not reference:
            raise errdefs.InvalidParameterError("a build needs a reference")
        if reference not in self._solvings:
            self._solvings[reference] = Solving(reference, self._engine, self._around)
        return self._solvings[reference]

    def _of(self, stream: GrpcStream) -> Solving:
        metadata = stream.metadata
        return self._solving(str(metadata.get(_BUILD_ID, "")) if metadata is not None else "")

    def _version(self) -> dict[str, Value]:
        return {"package": "kedge", "version": f"v{self._engine.version}", "revision": ""}

    def _worker(self) -> dict[str, Value]:
        platforms: list[Value] = [
            {
                "OS": each.os,
                "Architecture": each.architecture,
                **({"Variant": each.variant} if each.variant else {}),
            }
            for each in self._engine.platforms
        ]
        return {
            "ID": self._engine.identity,
            # The second one says that outputs, caches and several platforms are served at all.
            "Labels": {
                "org.mobyproject.buildkit.worker.executor": "kedge",
                "org.mobyproject.buildkit.worker.snapshotter": "overlayfs",
            },
            "platforms": platforms,
            "BuildkitVersion": self._version(),
        }


def _guarded(
    function: Callable[[GrpcStream], Awaitable[None]],
) -> Callable[[GrpcStream], Awaitable[None]]:
    async def guarded(stream: GrpcStream) -> None:
        with _as_status():
            await function(stream)

    return guarded


@contextmanager
def _as_status() -> Generator[None, None, None]:
    """Raise a failure as what a client of gRPC is told."""
    try:
        yield
    except KedgeError as error:
        raise GRPCError(status_of(error), told(error)) from error
    except OSError as error:
        raise GRPCError(Status.INTERNAL, (error.strerror or str(error)).lower()) from error


async def _message(stream: GrpcStream) -> Record:
    message = await stream.recv_message()
    if message is None:
        raise errdefs.InvalidParameterError("the call brought no message")
    return message
