"""The steps a plan is made of: plain data, printed by ``--dry-run``, done by an executor.

Every step has a ``key`` and ``needs``: the keys of the steps that must have ended well before.
"""

from typing import TYPE_CHECKING, NamedTuple, TypeAlias, assert_never

from kedge.compose.events import Kind
from kedge.compose.observed import Container
from kedge.lib.jsontypes import JsonObject

if TYPE_CHECKING:
    from kedge.compose.createspec import ContainerSpec

Needs: TypeAlias = tuple[str, ...]


class CreateNetwork(NamedTuple):
    """Make a network; in place of the one ``replaces`` names by id, whose containers move."""

    key: str
    needs: Needs
    name: str
    request: JsonObject
    replaces: str = ""
    reason: str = ""


class CreateVolume(NamedTuple):
    """Make a volume; in place of the one of the same name where ``replaces`` says so."""

    key: str
    needs: Needs
    name: str
    request: JsonObject
    replaces: bool = False
    reason: str = ""


class CreateContainer(NamedTuple):
    """Make a container."""

    key: str
    needs: Needs
    spec: "ContainerSpec"


class RecreateContainer(NamedTuple):
    """Make a container in place of another one, whose anonymous volumes it takes over."""

    key: str
    needs: Needs
    spec: "ContainerSpec"
    old: Container
    reason: str
    timeout_s: int | None = None
    keep_volumes: bool = True
    hooks: tuple[JsonObject, ...] = ()
    """``pre_stop`` of the service."""


class StartContainer(NamedTuple):
    """Start a container that was made, or one that is there."""

    key: str
    needs: Needs
    name: str
    service: str
    container: str = ""
    """Id of one that is there."""
    hooks: tuple[JsonObject, ...] = ()
    """``post_start`` of the service."""
    word: str = "Start"
    """``Start`` or ``Restart``, for people."""


class KeepContainer(NamedTuple):
    """Leave a container as it is, and say so."""

    key: str
    needs: Needs
    name: str
    word: str


class WaitFor(NamedTuple):
    """Wait until a service is as its dependents need it."""

    key: str
    needs: Needs
    service: str
    condition: str
    required: bool = True
    containers: tuple[str, ...] = ()
    """Names of the service's containers."""
    timeout_s: int = 0
    """How long to wait, from the beginning of the command; 0 is for ever."""


class StopContainer(NamedTuple):
    """Stop a container."""

    key: str
    needs: Needs
    container: Container
    timeout_s: int | None = None
    hooks: tuple[JsonObject, ...] = ()
    """``pre_stop`` of the service."""


class RestartContainer(NamedTuple):
    """Stop a container and start it again."""

    key: str
    needs: Needs
    container: Container
    service: str
    timeout_s: int | None = None
    before: tuple[JsonObject, ...] = ()
    """``pre_stop`` of the service."""
    after: tuple[JsonObject, ...] = ()
    """``post_start`` of the service."""


class PrepareService(NamedTuple):
    """Run the ``pre_start`` programs of a service, each in a container of its own."""

    key: str
    needs: Needs
    service: str
    hooks: "tuple[ContainerSpec, ...]"


class RemoveContainer(NamedTuple):
    """Stop a container if it runs, and remove it."""

    key: str
    needs: Needs
    container: Container
    timeout_s: int | None = None
    volumes: bool = False
    hooks: tuple[JsonObject, ...] = ()
    reason: str = ""
    stop: bool = True
    """Whether it has to be stopped first, if it runs."""


class RemoveNetwork(NamedTuple):
    """Remove a network."""

    key: str
    needs: Needs
    name: str
    network: str


class RemoveVolume(NamedTuple):
    """Remove a volume."""

    key: str
    needs: Needs
    name: str


class RemoveImage(NamedTuple):
    """Remove an image."""

    key: str
    needs: Needs
    image: str


class PullImage(NamedTuple):
    """Pull an image."""

    key: str
    needs: Needs
    image: str
    service: str
    platform: str = ""
    reason: str = ""
    else_build: bool = False
    """Whether the service's build stands in where the image cannot be had."""


class BuildImage(NamedTuple):
    """Build the image of a service."""

    key: str
    needs: Needs
    image: str
    service: str
    build: JsonObject
    reason: str = ""


class PushImage(NamedTuple):
    """Push the image of a service."""

    key: str
    needs: Needs
    image: str
    service: str


class SkipImage(NamedTuple):
    """Leave an image alone, and say why."""

    key: str
    needs: Needs
    image: str
    reason: str


class RunProvider(NamedTuple):
    """Let a program outside bring a service up or down."""

    key: str
    needs: Needs
    service: str
    verb: str
    provider: JsonObject


Step: TypeAlias = (
    CreateNetwork
    | CreateVolume
    | CreateContainer
    | RecreateContainer
    | StartContainer
    | KeepContainer
    | WaitFor
    | StopContainer
    | RestartContainer
    | PrepareService
    | RemoveContainer
    | RemoveNetwork
    | RemoveVolume
    | RemoveImage
    | PullImage
    | BuildImage
    | PushImage
    | SkipImage
    | RunProvider
)


def target(step: Step) -> tuple[Kind, str]:
    """Return what a step is about, as it is shown."""
    match step:
        case CreateNetwork() | RemoveNetwork():
            return Kind.NETWORK, step.name
        case CreateVolume() | RemoveVolume():
            return Kind.VOLUME, step.name
        case CreateContainer() | RecreateContainer():
            return Kind.CONTAINER, step.spec.name
        case StartContainer() | KeepContainer():
            return Kind.CONTAINER, step.name
        case StopContainer() | RestartContainer() | RemoveContainer():
            return Kind.CONTAINER, step.container.name
        case PullImage() | BuildImage() | PushImage() | SkipImage() | RemoveImage():
            return Kind.IMAGE, step.image
        case WaitFor() | PrepareService() | RunProvider():
            return Kind.SERVICE, step.service
        case _:
            assert_never(step)


class Plan(NamedTuple):
    """Steps in an order that respects their needs, and what the user should know first."""

    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
