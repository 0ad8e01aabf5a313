"""Named contexts: what ``--build-context name=...`` puts in place of a stage or an image.

Whoever asks for a build says what each name stands for; FROM, ``COPY --from`` and a mount's
``from`` then mean that, before any stage or image of the same name. Names are compared as image
references, so ``alpine`` is also ``docker.io/library/alpine:latest``; a name may end in
``::platform`` to stand for one platform only.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from kedge.builder.files.tree import Tree
from kedge.builder.gitrefs import is_remote
from kedge.builder.steps import BaseImage
from kedge.errdefs import InvalidParameterError
from kedge.oci.platforms import Platform
from kedge.oci.references import parse_reference

IMAGE_SCHEME: Final = "docker-image://"
_PLATFORM_MARK: Final = "::"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContext:
    """``docker-image://``: an image of the store or a registry, by whatever name."""

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultContext:
    """What is already in the engine's stores: ``target:`` of another build, an OCI layout."""

    image: BaseImage


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeContext:
    """Files: a folder of the client, or part of the stream it sent."""

    open: Callable[[], Tree]
    """Called at most once in a build, and only when the context is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteContext:
    """A git repository, or a file or archive at an http(s) URL."""

    url: str


NamedContext: TypeAlias = ImageContext | ResultContext | TreeContext | RemoteContext


def parse_context(name: str, value: str) -> NamedContext:
    """Return what ``value`` means where nobody has files to send: an image or a URL.

    Raises:
        InvalidParameterError: It is neither.
    """
    if value.startswith(IMAGE_SCHEME):
        reference = value.removeprefix(IMAGE_SCHEME)
        parse_reference(reference)
        return ImageContext(reference=reference)
    if is_remote(value):
        return RemoteContext(url=value)
    raise InvalidParameterError(
        f"build context {name}={value}: want docker-image://IMAGE, a git URL or an http(s) URL"
    )


def context_key(name: str, platform: Platform, names: Iterable[str]) -> str:
    """Return which of ``names`` stands for ``name`` on ``platform``; empty where none does."""
    wanted = _normal(name)
    by_name = {_normal(each): each for each in names}
    on_platform = f"{wanted}{_PLATFORM_MARK}{platform}"
    return by_name.get(on_platform, by_name.get(wanted, ""))


def _normal(name: str) -> str:
    name, mark, platform = name.partition(_PLATFORM_MARK)
    try:
        name = parse_reference(name.lower()).familiar().removesuffix(":latest")
    except InvalidParameterError:
        name = name.lower()
    return f"{name}{mark}{platform}"
