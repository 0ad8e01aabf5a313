"""The Dockerfile of a request: read as text, parsed, and another front end refused by name."""

from typing import Final

from kedge.builder.dockerfile.instructions import Dockerfile
from kedge.builder.dockerfile.typed import parse_dockerfile
from kedge.builder.request import BuildRequest
from kedge.errdefs import NotSupportedError

_SYNTAX_ARG: Final = "BUILDKIT_SYNTAX"
_OWN_FRONTENDS: Final = ("docker/dockerfile", "docker.io/docker/dockerfile", "dockerfile.v0")


def readable(text: str) -> str:
    """Return the text of a Dockerfile with nothing in it that JSON has no place for."""
    # An image configuration is JSON, which has no place for bytes that are no UTF-8.
    return text.encode(errors="surrogateescape").decode(errors="replace")


def parse_wanted(text: str, request: BuildRequest) -> Dockerfile:
    """Return the Dockerfile that a request asks to build.

    Raises:
        DockerfileError: It cannot be understood.
        NotSupportedError: It names another front end than kedge's own.
    """
    dockerfile = parse_dockerfile(readable(text))
    syntax = request.build_args.get(_SYNTAX_ARG, dockerfile.syntax)
    if syntax and syntax.partition(":")[0].partition("@")[0] not in _OWN_FRONTENDS:
        raise NotSupportedError(
            f"syntax {syntax} is not supported: kedge understands docker/dockerfile itself; "
            "remove the line or name that"
        )
    return dockerfile
