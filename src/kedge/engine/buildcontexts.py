"""The contexts of a ``POST /build``: the body, folders inside it, images and URLs.

The body of a build is one tar. A client that has more folders to send puts each in a folder of its
own, `FOLDER` and a number, and says in the query which name stands for which; the build context
itself is what is beside them.
"""

from collections.abc import Mapping
from typing import BinaryIO, Final

from kedge.builder.checks.calls import Call
from kedge.builder.contexts import (
    NamedContext,
    ResultContext,
    TreeContext,
    parse_context,
)
from kedge.builder.files.ignored import IgnoredTree
from kedge.builder.files.tree import Subtree, Tree
from kedge.builder.gitrefs import is_remote
from kedge.builder.lowering import ENTITLEMENTS
from kedge.builder.steps import BaseImage
from kedge.errdefs import InvalidParameterError
from kedge.images.loading import ImageLoader
from kedge.images.store import ImageStore
from kedge.lib.ignorefile import IgnoreMatcher

FOLDER: Final = ".kedge-context-"
_BODY: Final = "body:"
_LAYOUT: Final = "layout:"


def check_remote(url: str) -> None:
    """Refuse a remote context that is no URL.

    Raises:
        InvalidParameterError: It is none.
    """
    if url and not is_remote(url):
        raise InvalidParameterError(
            f"remote context {url} is no URL: want a git repository or an http(s) URL"
        )


def check_call(call: str) -> None:
    """Refuse to answer what nobody knows.

    Raises:
        InvalidParameterError: ``call`` is no question.
    """
    if call and call not in tuple(Call):
        raise InvalidParameterError(f"unknown call {call}: want one of {', '.join(Call)}")


def check_entitlements(given: frozenset[str]) -> frozenset[str]:
    """Return what a build is allowed.

    Raises:
        InvalidParameterError: One is unknown.
    """
    for name in sorted(given - set(ENTITLEMENTS)):
        known = " and ".join(ENTITLEMENTS)
        raise InvalidParameterError(f"unknown entitlement {name}: there are {known}")
    return given


def body_contexts(
    given: Mapping[str, str], body: Tree, images: ImageStore
) -> dict[str, NamedContext]:
    """Return the named contexts of a request.

    Args:
        given: By name: ``body:FOLDER``, ``layout:FILE``, an image or a URL.
        body: What came with the request.
        images: Takes the images of layouts.

    Raises:
        InvalidParameterError: One is none of these, or names nothing in the body.
    """
    return {name: _context(name, value, body, images) for name, value in given.items()}


def _context(name: str, value: str, body: Tree, images: ImageStore) -> NamedContext:
    kind, mark, place = value.partition(":")
    kind += mark
    if kind not in (_BODY, _LAYOUT):
        return parse_context(name, value)
    if not place.startswith(FOLDER) or "/" in place or body.entry(place) is None:
        raise InvalidParameterError(f"build context {name}: the body has no {place}")
    if kind == _BODY:
        tree = Subtree(body, place)
        return TreeContext(open=lambda: tree)
    with body.open(place) as archive:
        return layout_context(name, archive, images)


def layout_context(name: str, archive: BinaryIO, images: ImageStore) -> ResultContext:
    """Return the image of an archive of an OCI layout as a named context.

    Raises:
        InvalidParameterError: It holds none.
    """
    loaded = next(ImageLoader(images, names=False).load(archive), None)
    if loaded is None:
        raise InvalidParameterError(f"build context {name}: the OCI layout holds no image")
    return ResultContext(image=BaseImage.of(loaded.image))


def without_folders(body: Tree) -> Tree:
    """Return the build context: the body without the folders of the named ones."""
    return IgnoredTree(body, IgnoreMatcher((f"{FOLDER}*",)))
