"""One build of a client, from its ``Solve`` to its result: what was asked, what came of it.

A client of the gateway first says that it solves, then asks the frontend for results by their
references, and at last returns the one it wants. Results are lazy: only a returned or evaluated one
is built, and one built before is found in the cache.
"""

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, Protocol, TypeVar

from kedge.api.buildcaches import BuildCacheSpec
from kedge.api.buildoutputs import BuildOutput, OutputKind, make_output
from kedge.builder.buildkit.gathering import Means, OpenFolder, gather
from kedge.builder.buildkit.lending import registry_user
from kedge.builder.buildkit.options import FrontendOptions, parse_options
from kedge.builder.buildkit.progress import Progress
from kedge.builder.buildkit.sending import SessionSinks
from kedge.builder.buildkit.session import Session, Sessions, raise_cancelled
from kedge.builder.buildkit.stores import SessionStores
from kedge.builder.checks.calls import Call
from kedge.builder.clientfolders import ClientFolders
from kedge.builder.contexts import NamedContext
from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.events import Event, InStage, StageFailed, StepStarted
from kedge.builder.findings import Answer
from kedge.builder.outlets import Outlets
from kedge.builder.request import BuildRequest, BuildResult
from kedge.errdefs import KedgeError, NotFoundError

if TYPE_CHECKING:
    from kedge.builder.buildkit.wire import Record

T = TypeVar("T")

_WITH_INDEX: Final = (OutputKind.OCI, OutputKind.REGISTRY)
_CACHE_ONLY: Final = (BuildOutput(kind=OutputKind.CACHE_ONLY),)

FindUser = Callable[[str], tuple[str, str]]
"""Returns user name and password at a registry's host."""


class BuildEngine(Protocol):
    """The engine as far as this door needs it; called from a build's thread."""

    @property
    def open_folder(self) -> OpenFolder:
        """Makes a context of a folder."""
        ...

    @property
    def private(self) -> str:
        """A folder for sockets that only this engine's user may reach."""
        ...

    def build(
        self,
        request: BuildRequest,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
        *,
        find_user: FindUser,
        outlets: Outlets,
    ) -> BuildResult:
        """Build, and write the outputs of the request."""
        ...

    def call(self, call: Call, request: BuildRequest, cancel: threading.Event) -> Answer:
        """Answer a question about a Dockerfile."""
        ...

    def layout_context(self, name: str, archive: BinaryIO, hold: ExitStack) -> NamedContext:
        """Return the image of an OCI layout as a named context, which stays with ``hold``."""
        ...

    def built_context(self, result: BuildResult, hold: ExitStack) -> NamedContext:
        """Return the result of a build as a named context, which stays as long as ``hold``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client wants a frontend to make."""

    options: Mapping[str, str]
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    """References of other results, by the name the options give them."""


class Place(NamedTuple):
    """A line of a Dockerfile."""

    filename: str
    text: str
    line: int


class Around(NamedTuple):
    """What the builds of one engine share."""

    folders: ClientFolders
    sessions: Sessions
    find_promised: "Callable[[str], Solving | None]"
    """Returns the build that can make a result, of whichever client."""


class Solving:
    """One client's build."""

    def __init__(self, reference: str, engine: BuildEngine, around: Around) -> None:
        """Know nothing but its reference; made by whichever call of the client comes first."""
        self.reference = reference
        self.progress = Progress(reference)
        self.returned: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self.session: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self.entitlements: frozenset[str] = frozenset()
        self.is_solved = False
        self._engine = engine
        self._around = around
        self._asked: dict[str, Asked] = {}
        self._results: dict[str, BuildResult] = {}
        self._cancel = threading.Event()
        self.failed_at: Place | None = None

    def ask(self, identity: str, asked: Asked) -> None:
        """Remember what ``identity`` stands for."""
        self._asked[identity] = asked

    async def make(
        self,
        identity: str,
        outputs: tuple[BuildOutput, ...] = _CACHE_ONLY,
        cache_to: tuple[BuildCacheSpec, ...] = (),
    ) -> BuildResult:
        """Build the result ``identity`` and write its outputs and caches.

        Raises:
            KedgeError: It failed.
        """
        session = await self.session
        return await self._in_thread(lambda: self._make(session, identity, outputs, cache_to))

    async def answer(self, call: Call, asked: Asked) -> Answer:
        """Answer a question about the Dockerfile that is asked for."""
        session = await self.session

        def work() -> Answer:
            means = self._means(session, asked)
            with gather(parse_options(asked.options), session, means, self._check) as request:
                return self._engine.call(call, request, self._cancel)

        return await self._in_thread(work)

    def cancel(self) -> None:
        """End whatever runs."""
        self._cancel.set()
        if not self.returned.done():
            self.returned.cancel()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        running = asyncio.create_task(asyncio.to_thread(work))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self._cancel.set()
            # Nothing of the build outlives the client's interest in it.
            await asyncio.wait({running})
            raise

    def _make(
        self,
        session: Session,
        identity: str,
        outputs: tuple[BuildOutput, ...],
        cache_to: tuple[BuildCacheSpec, ...] = (),
    ) -> BuildResult:
        asked = self._asked.get(identity)
        if asked is None:
            raise NotFoundError(f"no such result of this build: {identity}")
        options = parse_options(asked.options)
        self.progress.begin("[internal] load build definition and context")
        with gather(options, session, self._means(session, asked), self._check) as request:
            self.progress.complete()
            if request.dockerfile_text is not None:
                content = request.dockerfile_text.encode(errors="surrogateescape")
                self.progress.source = (request.dockerfile, content)
            lines: dict[int, int] = {}
            line = 0

            def tell(event: Event) -> None:
                nonlocal line
                match event:
                    case InStage(stage=stage, event=StepStarted() as step):
                        lines[stage] = step.line
                    case InStage(stage=stage, event=StageFailed()):
                        # What fails in no stage is no line's fault.
                        line = lines.get(stage, 0)
                    case _:
                        pass
                self.progress.tell(event)

            try:
                numbers = tuple(str(number) for number in range(len(outputs)))
                result = self._engine.build(
                    dataclasses.replace(
                        _with_outputs(request, options, outputs, cache_to),
                        entitlements=self.entitlements,
                    ),
                    tell,
                    self._cancel,
                    find_user=lambda host: registry_user(session, host, self._check),
                    outlets=Outlets(
                        sinks=SessionSinks(session, numbers, self._check),
                        stores=SessionStores(session, self._check),
                        shows_stages_at_once=True,
                    ),
                )
            except KedgeError as error:
                line = error.line if isinstance(error, DockerfileError) else line
                if line and request.dockerfile_text is not None:
                    self.failed_at = Place(request.dockerfile, request.dockerfile_text, line)
                raise
        self.progress.complete()
        self._results[identity] = result
        return result

    def _means(self, session: Session, asked: Asked) -> Means:
        def find_result(name: str, hold: ExitStack) -> NamedContext:
            identity = asked.inputs.get(name, "")
            owner = self._around.find_promised(identity)
            if owner is None:
                raise NotFoundError(f"build context {name}: its build is not known any more")
            return self._engine.built_context(owner.result(identity), hold)

        def find_session(wanted: str) -> Session:
            if not wanted or wanted == session.identity:
                return session
            return session.wait(self._around.sessions.find(wanted), self._check)

        return Means(
            folders=self._around.folders,
            open_folder=self._engine.open_folder,
            private=self._engine.private,
            find_result=find_result,
            load_layout=self._engine.layout_context,
            find_session=find_session,
        )

    def result(self, identity: str) -> BuildResult:
        """Return a promised result, built now where it is not yet; from a build's thread."""
        known = self._results.get(identity)
        if known is not None:
            return known
        return self._make(self.session.result(), identity, _CACHE_ONLY)

    def _check(self) -> None:
        if self._cancel.is_set():
            raise_cancelled()


def _with_outputs(
    request: BuildRequest,
    options: FrontendOptions,
    outputs: tuple[BuildOutput, ...],
    cache_to: tuple[BuildCacheSpec, ...],
) -> BuildRequest:
    attests = request.attests
    holds_index = any(each.push or each.kind in _WITH_INDEX for each in outputs)
    if "inline-only=true" in options.attests.get("provenance", "") and not holds_index:
        # What buildx asks for by itself, wherever it fits.
        attests = attests._replace(provenance=None)
    return dataclasses.replace(request, outputs=outputs, cache_to=cache_to, attests=attests)


def read_outputs(exporters: list[tuple[str, dict[str, str]]]) -> tuple[BuildOutput, ...]:
    """Return the outputs that a client's exporters stand for; none is a build for its cache.

    Raises:
        InvalidParameterError: A kind or an attribute that does not exist.
    """
    return tuple(make_output(kind, attributes) for kind, attributes in exporters) or _CACHE_ONLY
