"""What the builder asks of the engine: run one command in a root file system; find a base image.

The engine implements both Protocols. The builder never starts a process and never talks to a
registry itself.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from kedge.builder.events import Event
from kedge.images.image import Image
from kedge.oci.image_spec import Descriptor, ImageConfig
from kedge.oci.mounts import Mount
from kedge.oci.platforms import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimits:
    """What every RUN of a build may use; in no cache key. 0 and empty leave it to the engine."""

    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    """Of memory and swap together; -1 for no limit."""
    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    shm_size_bytes: int = 0
    ulimits: tuple[str, ...] = ()
    """``name=soft:hard``."""
    cgroup_parent: str = ""


NO_LIMITS: Final = StepLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One RUN, ready to start."""

    container_id: str
    """64 hexadecimal digits; the name under which logs and events may speak of it."""
    rootfs: tuple[Mount, ...]
    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    """``USER`` as the file has it; empty for root."""
    network: str
    """``default``, ``none``, ``host``, or what ``network_mode`` of the build says."""
    hostname: str
    mounts: tuple[Mount, ...] = ()
    """Beside the standard mounts; sources are paths of the host."""
    extra_hosts: tuple[str, ...] = ()
    """``name:address``."""
    is_insecure: bool = False
    """Run it as a privileged container."""
    limits: StepLimits = NO_LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """How a RUN ended."""

    exit_code: int
    created_mountpoints: tuple[str, ...] = ()
    """Paths in the container that exist only because something was mounted on them."""


class StepRunner(Protocol):
    """Runs one command in a container of its own and leaves nothing of it behind."""

    def run(
        self,
        spec: StepSpec,
        on_output: Callable[[str, bytes], None],
        cancel: threading.Event,
    ) -> StepResult:
        """Run ``spec`` to its end; kill it when ``cancel`` is set and return then.

        Args:
            spec: The command.
            on_output: Called with ``stdout`` or ``stderr`` and bytes, from any one thread at a
                time, and no more after the return.
            cancel: Set when nobody waits for the build any more.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """An image a stage starts from; its layers are unpacked as snapshots named by chain id."""

    id: str
    config: ImageConfig
    layers: tuple[Descriptor | None, ...]
    """The blob of each diff_id of the configuration; None for a layer that is only unpacked."""

    @classmethod
    def of(cls, image: Image) -> "BaseImage":
        """Return an image of the store as a base image; its layers must be unpacked."""
        return cls(
            id=image.id, config=image.config, layers=tuple(layer.blob for layer in image.layers)
        )


class BaseResolver(Protocol):
    """Finds the images that FROM and ``COPY --from`` name."""

    def resolve(
        self,
        reference: str,
        platform: Platform,
        *,
        pull: bool,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> BaseImage:
        """Return the image, pulled where it is missing or ``pull`` asks for it, and unpacked.

        Raises:
            NotFoundError: Neither here nor in the registry.
            NotSupportedError: There is none for ``platform``.
        """
        ...
