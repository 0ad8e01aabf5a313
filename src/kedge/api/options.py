"""What the server read from a request's path, query and headers, as plain data.

The server parses and the engine consumes; neither imports the other, so the types live here.
Times are nanoseconds since the epoch. Names and references are as the client wrote them.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from kedge.api.buildattests import Attests
from kedge.api.buildcaches import BuildCacheSpec
from kedge.api.buildoutputs import BuildOutput
from kedge.api.logmarks import LogMark
from kedge.api.types.system import AuthConfig
from kedge.lib.filters import Filters

NO_FILTERS = Filters({})


class WaitCondition(StrEnum):
    """What ``POST /containers/{id}/wait`` waits for."""

    NOT_RUNNING = "not-running"
    NEXT_EXIT = "next-exit"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Which containers to list: running ones unless `all`; `limit` of 0 or less means no limit."""

    all: bool = False
    limit: int = 0
    size: bool = False
    filters: Filters = NO_FILTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachOptions:
    """Which streams of a container to attach to.

    Attributes:
        stream: Attach to what the container does from now on.
        logs: Send what the container printed before, first.
        detach_keys: Parsed byte sequence that ends the session of a terminal.
    """

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    stream: bool = False
    logs: bool = False
    detach_keys: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """Which log lines to send; `since_ns`/`until_ns` of 0 and `tail` of -1 mean all of them."""

    stdout: bool = False
    stderr: bool = False
    follow: bool = False
    since_ns: int = 0
    until_ns: int = 0
    timestamps: bool = False
    details: bool = False
    tail: int = -1
    marks: bool = False
    """While following, say how far the client has got: see `kedge.api.logmarks`."""
    after: LogMark | None = None
    """Go on behind this mark; `tail` and `since_ns` were for the beginning."""
    after_ns: int = 0
    """The time of `after`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsOptions:
    """Which events to send; without `since_ns` only new ones, without `until_ns` for ever."""

    since_ns: int | None = None
    until_ns: int | None = None
    filters: Filters = NO_FILTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageListOptions:
    """Which images to list."""

    all: bool = False
    shared_size: bool = False
    digests: bool = False
    filters: Filters = NO_FILTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """All that ``POST /build`` takes beside the context; sizes in bytes, -1/0 as Docker reads them.

    Attributes:
        call: Asks for checks, an outline or the targets in place of an image.
        entitlements: What RUN may ask for: ``network.host``, ``security.insecure``.
        remote: URL of a Dockerfile or context; empty when the body is the context.
        contexts: Named contexts by name: an image, a URL, or ``body:FOLDER`` of the body.
        build_args: Values by name; None means "take the engine's environment variable".
        content_type: Media type of the body.
        secrets: Values for ``RUN --mount=type=secret``, by id.
        agents: Paths of sockets for ``RUN --mount=type=ssh``, by id.
        host_certs: Share the host's CA bundle with RUN steps; None leaves it to the engine.
        outputs: Where the result goes; none means the image store.
        no_cache_stages: Stages that are built anew.
        debug_shell: Offer a shell in the file system of a step that fails.
        side_by_side: Stages report as they go, each message with its stage.
        context_token: The body has only what the engine lacks of a context it was told of.
    """

    dockerfile: str = ""
    tags: tuple[str, ...] = ()
    remote: str = ""
    call: str = ""
    entitlements: frozenset[str] = frozenset()
    contexts: dict[str, str] = field(default_factory=dict)
    quiet: bool = False
    no_cache: bool = False
    pull: bool = False
    remove: bool = True
    force_remove: bool = False
    squash: bool = False
    target: str = ""
    platform: str = ""
    network_mode: str = ""
    build_args: dict[str, str | None] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    cache_from: tuple[BuildCacheSpec, ...] = ()
    cache_to: tuple[BuildCacheSpec, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    ulimits: tuple[str, ...] = ()
    cgroup_parent: str = ""
    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    shm_size: int = 0
    version: str = "1"
    session: str = ""
    build_id: str = ""
    secrets: dict[str, bytes] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)
    auths: dict[str, AuthConfig] = field(default_factory=dict)
    content_type: str = ""
    host_certs: bool | None = None
    outputs: tuple[BuildOutput, ...] = ()
    no_cache_stages: tuple[str, ...] = ()
    attests: Attests = field(default_factory=Attests)
    context_token: str = ""
    debug_shell: bool = False
    side_by_side: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPruneOptions:
    """How much of the build cache to keep; sizes in bytes, 0 means none."""

    all: bool = False
    reserved_space: int = 0
    max_used_space: int = 0
    min_free_space: int = 0
    filters: Filters = NO_FILTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """How a tar stream goes into a container.

    Attributes:
        no_overwrite_dir_non_dir: Refuse to replace a directory by a file or the reverse.
        copy_uid_gid: Give everything to the container's user in place of who the stream says.
    """

    no_overwrite_dir_non_dir: bool = False
    copy_uid_gid: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitOptions:
    """What the image of a container is called and says; `changes` are Dockerfile instructions."""

    repo: str = ""
    tag: str = ""
    author: str = ""
    comment: str = ""
    pause: bool = True
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the image of a tar stream is called and says; `changes` are Dockerfile instructions."""

    repo: str = ""
    tag: str = ""
    message: str = ""
    platform: str = ""
    changes: tuple[str, ...] = ()
