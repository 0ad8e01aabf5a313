"""Creating a container: pulls the image where it is missing, writes ``--cidfile``."""

import os
import sys

from kedge.cli.createrequest import build_create_request
from kedge.cli.exitcodes import USAGE
from kedge.cli.flags import Options, UsageError
from kedge.client.http import EngineClient
from kedge.errdefs import InvalidParameterError, NotFoundError, NotSupportedError
from kedge.lib.fields import mapping, text, texts
from kedge.lib.jsontypes import JsonObject

_PULL_POLICIES = frozenset({"always", "missing", "never"})


def create_container(options: Options, client: EngineClient) -> str:
    """Create the container the flags describe and return its id.

    Raises:
        KedgeError: The flags are no good, or the engine refuses.
    """
    policy = options.text("pull")
    if policy not in _PULL_POLICIES:
        raise UsageError(
            f'invalid pull option: "{policy}": must be one of always, missing or never'
        )
    cidfile = options.text("cidfile")
    if cidfile and os.path.exists(cidfile):
        raise InvalidParameterError(
            f"container ID file {cidfile} exists: remove it, or name another with --cidfile"
        )
    request = build_create_request(options, os.environ)
    if options.on("tty"):
        _add_console_size(request)
    if policy == "always":
        pull_image(options.words[0], options, client)
    query = {"name": options.text("name"), "platform": options.text("platform")}
    try:
        answer = client.post("/containers/create", query, request).object()
    except NotFoundError as error:
        if policy != "missing" or not str(error).startswith("No such image"):
            raise
        named = str(error).partition(": ")[2] or options.words[0]
        sys.stderr.write(f"Unable to find image '{named}' locally\n")
        pull_image(options.words[0], options, client)
        answer = client.post("/containers/create", query, request).object()
    for warning in texts(answer, "Warnings"):
        sys.stderr.write(f"kedge: warning: {warning}\n")
    container = text(answer, "Id")
    if cidfile:
        _write_cidfile(cidfile, container, client)
    return container


def _write_cidfile(path: str, container: str, client: EngineClient) -> None:
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(container)
    except OSError as error:
        client.delete(f"/containers/{container}", {"force": True}).read()
        raise InvalidParameterError(
            f"cannot write {path}: {(error.strerror or '').lower()}"
        ) from None


def _add_console_size(request: JsonObject) -> None:
    from kedge.client.terminal import terminal_size  # noqa: PLC0415 - only with a terminal

    size = terminal_size()
    if size is not None:
        mapping(request, "HostConfig")["ConsoleSize"] = [*size]


def pull_image(image: str, options: Options, client: EngineClient) -> None:
    """Pull an image for ``run``; progress goes to standard error."""
    from kedge.cli.pulling import pull  # noqa: PLC0415 - rarely needed
    from kedge.oci.references import parse_reference  # noqa: PLC0415

    reference = parse_reference(image)
    if not (reference.tag or reference.digest):
        # Nobody who runs a container is told of the tag.
        image += ":latest"
    try:
        pull(
            client,
            image,
            platform=options.text("platform"),
            stream=sys.stderr,
            quiet=options.on("quiet"),
        )
    except NotSupportedError as error:
        raise NotFoundError(f"no such image: {image}: {error}") from None


FAILED_BEFORE_START = USAGE
