"""What BuildKit's services say and are told, from and to this engine's own words. Pure."""

from typing import Final, NamedTuple

import msgspec
from grpclib.const import Status

from kedge import errdefs
from kedge.api.buildcaches import BuildCacheSpec
from kedge.builder.buildkit.options import FRONTEND, read_cache
from kedge.builder.buildkit.references import find_reference, make_definition
from kedge.builder.buildkit.solving import Asked, Solving
from kedge.builder.buildkit.wire import Record, Value, part, parts, text, texts
from kedge.builder.failures import BuildCancelledError, StepFailedError
from kedge.builder.findings import Answer
from kedge.errdefs import KedgeError

_CODES: Final = (
    (errdefs.NotFoundError, Status.NOT_FOUND),
    (errdefs.InvalidParameterError, Status.INVALID_ARGUMENT),
    (errdefs.NotSupportedError, Status.UNIMPLEMENTED),
    (errdefs.UnauthorizedError, Status.UNAUTHENTICATED),
    (errdefs.ForbiddenError, Status.PERMISSION_DENIED),
    (BuildCancelledError, Status.CANCELLED),
)


class Usage(NamedTuple):
    """One entry of the build cache."""

    id: str
    kind: str
    description: str
    size_bytes: int
    is_used: bool
    is_shared: bool
    created_ns: int
    last_used_ns: int
    uses: int


def status_of(error: KedgeError) -> Status:
    """Return what kind of failure gRPC calls this."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Status.UNKNOWN)


def told(error: KedgeError) -> str:
    """Return a failure in the words of BuildKit, where clients and users know these."""
    if isinstance(error, StepFailedError) and error.command:
        return (
            f'process "{error.command}" did not complete successfully: exit code: {error.exit_code}'
        )
    return str(error)


def details(solving: Solving) -> list[Value]:
    """Return the place in the Dockerfile where a build failed, which clients print."""
    place = solving.failed_at
    if place is None:
        return []
    # Typed errors travel as the JSON of their Go type, not as messages.
    content = place.text.encode(errors="surrogateescape")
    info = {"filename": place.filename, "data": content, "language": "Dockerfile"}
    span = {"start": {"line": place.line}, "end": {"line": place.line}}
    value = msgspec.json.encode({"info": info, "ranges": [span]})
    return [{"type_url": "github.com/moby/buildkit/errdefs.Source+json", "value": value}]


def answer_metadata(answer: Answer) -> dict[str, Value]:
    """Return the answer to a question about a Dockerfile as a result's metadata."""
    return {
        "result.json": msgspec.json.encode(answer.document),
        "result.txt": answer.text.encode(),
        "result.statuscode": str(answer.status_code).encode(),
        "version": b"1.2.0",
    }


def asked_of(frontend: str, options: dict[str, str], inputs: Record | None = None) -> Asked:
    """Return what a client wants of a frontend.

    Raises:
        NotSupportedError: It is another frontend than the Dockerfile's.
    """
    if frontend != FRONTEND:
        raise errdefs.NotSupportedError(
            f"frontend {frontend} is not supported: kedge understands {FRONTEND} itself"
        )
    found = {
        name: find_reference(definition)
        for name, definition in (inputs or {}).items()
        if isinstance(definition, dict)
    }
    return Asked(options=options, inputs=found)


def caches_of(request: Record) -> tuple[BuildCacheSpec, ...]:
    """Return where the cache of a build goes."""
    exports = parts(part(request, "Cache"), "Exports")
    return tuple(read_cache(text(one, "Type"), texts(one, "Attrs"), target=True) for one in exports)


def promise(identity: str) -> Record:
    """Return the answer that names a result which may still have to be built."""
    return {
        "ref": identity,
        "result": {"ref": {"id": identity, "def": make_definition(identity)}},
    }


def single_ref(result: Record) -> str:
    """Return the reference of the one result; empty where there is none."""
    if "ref" in result:
        return text(part(result, "ref"), "id")
    if "refs" in result:
        refs = part(part(result, "refs"), "refs")
        found = {text(each, "id") for each in refs.values() if isinstance(each, dict)}
        if len(found) == 1:
            return found.pop()
        raise errdefs.NotSupportedError("a result of several platforms is not supported here")
    return text(result, "refDeprecated")


def usage_record(one: Usage) -> dict[str, Value]:
    """Return one entry of the cache as a message."""
    return {
        "ID": one.id,
        "InUse": one.is_used,
        "Size": one.size_bytes,
        "CreatedAt": _timestamp(one.created_ns),
        "LastUsedAt": _timestamp(one.last_used_ns),
        "UsageCount": one.uses,
        "Description": one.description,
        "RecordType": one.kind,
        "Shared": one.is_shared,
    }


def _timestamp(moment_ns: int) -> dict[str, Value]:
    seconds, nanos = divmod(moment_ns, 1_000_000_000)
    return {"seconds": seconds, "nanos": nanos}
