"""What a build is asked to do, and what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kedge.api.buildattests import Attests
from kedge.api.buildcaches import BuildCacheSpec
from kedge.api.buildoutputs import BuildOutput
from kedge.builder.contexts import NamedContext
from kedge.builder.files.tree import Tree
from kedge.builder.run_mounts import Lent
from kedge.builder.steps import NO_LIMITS, BaseImage, StepLimits
from kedge.oci.platforms import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """One build."""

    context: Tree | None = None
    """The files COPY and ADD see: `kedge.builder.files` makes one of a folder or a tar stream."""
    remote: str = ""
    """The context is fetched from here: a git repository, an archive, or a lone Dockerfile."""
    contexts: Mapping[str, NamedContext] = field(default_factory=dict[str, NamedContext])
    """Named contexts: what FROM and ``--from`` mean by these names, before stages and images."""
    dockerfile: str = "Dockerfile"
    """Its path in the context."""
    dockerfile_text: str | None = None
    """The Dockerfile itself, where it is not in the context."""
    ignore_text: str | None = None
    """The ignore file itself, where it is not to be looked for in the context."""
    tags: tuple[str, ...] = ()
    build_args: Mapping[str, str] = field(default_factory=dict[str, str])
    target: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    no_cache: bool = False
    no_cache_stages: tuple[str, ...] = ()
    """Stages, by name or number, that are built anew whatever is remembered."""
    attests: Attests = field(default_factory=Attests)
    """What the image is to say of itself, in outputs that hold an index."""
    cache_from: tuple[BuildCacheSpec, ...] = ()
    """Caches that are asked for what is not remembered here."""
    cache_to: tuple[BuildCacheSpec, ...] = ()
    """Where what is remembered goes after the build."""
    outputs: tuple[BuildOutput, ...] = ()
    """Where the result goes; none means the image store."""
    pull: bool = False
    """Ask the registry for the base images even if they are here."""
    platform: Platform | None = None
    """None for this machine's."""
    more_platforms: tuple[Platform, ...] = ()
    """Built, too, for outputs that hold several."""
    network_mode: str = "default"
    """Of the RUNs that do not say."""
    extra_hosts: tuple[str, ...] = ()
    """``name:address``."""
    entitlements: frozenset[str] = frozenset()
    """``network.host`` and ``security.insecure``, for RUNs that ask for them."""
    lent: Lent = field(default_factory=Lent)
    """Secrets and agents for the RUNs that ask for them."""
    limits: StepLimits = NO_LIMITS
    """Of every RUN."""
    host_certs: str | None = None
    """Path of the host's bundle of certificates for RUN steps; None for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """A finished build."""

    image_id: str
    base: BaseImage
    """The image of the first platform, for another build to start from."""
    tags: tuple[str, ...]
    cached_steps: int
    """How many layers came from the cache."""
    executed_steps: int
    """How many layers were made."""
    response: Mapping[str, str] = field(default_factory=dict[str, str])
    """What BuildKit's exporters answer: ``containerimage.digest`` and its siblings."""
