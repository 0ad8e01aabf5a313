"""Builds with the classic protocol: a context in, progress out, both at the same time."""

import base64
import contextlib
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from kedge.api import codec
from kedge.api.buildattests import make_attests
from kedge.api.buildcaches import BuildCacheSpec, parse_cache
from kedge.api.buildoutputs import BuildOutput, make_output
from kedge.api.options import BuildOptions, BuildPruneOptions
from kedge.api.types.config import Ulimit
from kedge.errdefs import InvalidParameterError, KedgeError
from kedge.server.backends import BuildBackend
from kedge.server.pump import pump
from kedge.server.request import Request
from kedge.server.response import (
    ClientStream,
    HijackResponse,
    Response,
    StreamResponse,
    json_response,
)
from kedge.server.router import Handler
from kedge.server.routers.container_files import TAR
from kedge.server.routers.container_streams import RAW_STREAM
from kedge.server.routers.containers import terminal_size
from kedge.server.routers.credentials import parse_registry_config
from kedge.server.routers.progress import progress_response

T = TypeVar("T")

_LISTING_MAX_BYTES: Final = 256 << 20
_CONTEXT_TYPES: Final = frozenset({"application/x-tar", "application/tar", "text/plain", ""})


class BuildRouter:
    """Handlers for builds and their cache."""

    def __init__(self, backend: BuildBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {
            "ImageBuild": self.build,
            "BuildPrune": self.prune,
            "BuildCancel": self.cancel,
            "KedgeBuildOutput": self.output,
            "KedgeBuildContext": self.context,
            "KedgeBuildShell": self.shell,
            "KedgeBuildShellResize": self.resize_shell,
        }

    async def build(self, request: Request) -> StreamResponse:
        """Build an image; progress flows while the context still comes in."""
        messages = await self._backend.build(parse_build_options(request), aiter(request.body))
        return await progress_response(messages)

    async def cancel(self, request: Request) -> Response:
        """End a build by the id that its client gave it."""
        build_id = request.text("id")
        if not build_id:
            raise InvalidParameterError("build ID not provided")
        await self._backend.cancel(build_id)
        return Response(200)

    async def context(self, request: Request) -> Response:
        """Say which files of a context the engine does not know yet."""
        listing = await request.body.read(_LISTING_MAX_BYTES)
        token, needed = await self._backend.compare_context(request.text("key"), listing)
        return json_response({"Token": token, "Needed": needed})

    async def output(self, request: Request) -> StreamResponse:
        """Stream what an output of a running build writes; its stream named the token."""
        return StreamResponse(await self._backend.output(request.name), TAR)

    async def shell(self, request: Request) -> HijackResponse:
        """Join the client and a shell in the file system of a step that failed."""
        token = request.name

        async def run(client: ClientStream) -> None:
            try:
                async with self._backend.shell(token) as stream:
                    await pump(client, stream)
            except KedgeError as error:
                with contextlib.suppress(ConnectionError):
                    await client.write(f"no shell: {error}\r\n".encode())

        return HijackResponse(run, RAW_STREAM)

    async def resize_shell(self, request: Request) -> Response:
        """Resize a shell's terminal."""
        width, height = terminal_size(request)
        await self._backend.resize_shell(request.name, width=width, height=height)
        return Response()

    async def prune(self, request: Request) -> Response:
        """Remove build cache."""
        options = BuildPruneOptions(
            all=request.flag("all"),
            reserved_space=request.integer("reserved-space", request.integer("keep-storage")),
            max_used_space=request.integer("max-used-space"),
            min_free_space=request.integer("min-free-space"),
            filters=request.filters(),
        )
        return json_response(await self._backend.prune(options))


def parse_build_options(request: Request) -> BuildOptions:
    """Return what query and headers say about a build.

    Raises:
        InvalidParameterError: A parameter is malformed.
    """
    content_type = request.head.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() not in _CONTEXT_TYPES:
        raise InvalidParameterError(
            f"unsupported Content-Type header ({content_type}): must be 'application/x-tar'"
        )
    if request.text("version", "1") == "2":
        raise InvalidParameterError("build protocol 2 (BuildKit) is not served: use version=1")
    network_mode = request.text("networkmode")
    return BuildOptions(
        dockerfile=request.text("dockerfile"),
        tags=tuple(tag for tag in request.texts("t") if tag),
        remote=request.text("remote"),
        call=request.text("call"),
        entitlements=frozenset(text for text in request.texts("allow") if text),
        contexts=_json_parameter(request, "contexts", dict[str, str]) or {},
        quiet=request.flag("q"),
        no_cache=request.flag("nocache"),
        pull=request.flag("pull"),
        remove=request.flag("rm", default=True),
        force_remove=request.flag("forcerm"),
        squash=request.flag("squash"),
        target=request.text("target"),
        platform=request.text("platform"),
        network_mode="" if network_mode == "default" else network_mode,
        build_args=_json_parameter(request, "buildargs", dict[str, str | None]) or {},
        labels=_json_parameter(request, "labels", dict[str, str]) or {},
        cache_from=_caches(request, "cachefrom"),
        cache_to=_caches(request, "cacheto"),
        extra_hosts=_texts(request, "extrahosts"),
        security_opt=_texts(request, "securityopt"),
        ulimits=_ulimits(request),
        cgroup_parent=request.text("cgroupparent"),
        memory=request.integer("memory"),
        memory_swap=request.integer("memswap"),
        cpu_shares=request.integer("cpushares"),
        cpu_period=request.integer("cpuperiod"),
        cpu_quota=request.integer("cpuquota"),
        cpuset_cpus=request.text("cpusetcpus"),
        cpuset_mems=request.text("cpusetmems"),
        shm_size=request.integer("shmsize"),
        session=request.text("session"),
        build_id=request.text("buildid"),
        auths=parse_registry_config(request.head.headers.get("x-registry-config", "")),
        secrets=_secrets(request),
        agents=_lent(request, "x-kedge-build-ssh", str),
        content_type=content_type,
        host_certs=request.optional_flag("hostcerts"),
        outputs=_outputs(request),
        context_token=request.text("contexttoken"),
        debug_shell=request.flag("debugshell"),
        side_by_side=request.flag("sidebyside"),
        attests=make_attests(_json_parameter(request, "attests", dict[str, str]) or {}),
        no_cache_stages=tuple(name for name in request.texts("nocachefilter") if name),
    )


def _json_parameter(request: Request, key: str, wire_type: type[T]) -> T | None:
    text = request.text(key)
    if not text or text == "null":
        return None
    try:
        return codec.decode(text.encode(), wire_type)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"error reading {key}: {error}") from None


class _Output(msgspec.Struct, rename="pascal"):
    """An output as Docker's API has it."""

    type: str
    attrs: dict[str, str] | None = None


def _outputs(request: Request) -> tuple[BuildOutput, ...]:
    given = _json_parameter(request, "outputs", list[_Output]) or []
    return tuple(make_output(each.type, each.attrs or {}) for each in given)


def _caches(request: Request, key: str) -> tuple[BuildCacheSpec, ...]:
    """Return caches: Docker's list of images, or in each place BuildKit's ``type=…``."""
    texts = _json_parameter(request, key, list[str]) or []
    return tuple(parse_cache(text, target=key == "cacheto") for text in texts if text)


def _lent(request: Request, header: str, kind: type[T]) -> dict[str, T]:
    """Return the JSON object that a header holds in base64, as ``X-Registry-Config`` does."""
    text = request.head.headers.get(header, "")
    if not text:
        return {}
    try:
        return codec.decode(base64.b64decode(text, validate=True), dict[str, kind])  # type: ignore[valid-type]
    except (ValueError, InvalidParameterError):
        # Never with the text: it holds secrets.
        raise InvalidParameterError(f"the {header} header is no base64 of a JSON object") from None


def _secrets(request: Request) -> dict[str, bytes]:
    values = _lent(request, "x-kedge-build-secrets", str)
    try:
        return {name: base64.b64decode(value, validate=True) for name, value in values.items()}
    except ValueError:
        raise InvalidParameterError("a secret of the build is no base64") from None


def _texts(request: Request, key: str) -> tuple[str, ...]:
    """Return a list: the CLI repeats the parameter, docker-py sends one JSON object or list."""
    found: list[str] = []
    for text in request.texts(key):
        if text.startswith("{"):
            by_name = codec.decode(text.encode(), dict[str, str])
            found += [f"{name}:{content}" for name, content in by_name.items()]
        elif text.startswith("["):
            found += codec.decode(text.encode(), list[str])
        elif text:
            found.append(text)
    return tuple(found)


def _ulimits(request: Request) -> tuple[str, ...]:
    entries = _json_parameter(request, "ulimits", list[Ulimit]) or []
    return tuple(f"{entry.name}={entry.soft}:{entry.hard}" for entry in entries)
