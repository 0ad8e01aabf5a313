"""What ``--docker host=…,ca=…`` says about an engine, and the context it makes."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from kedge.cli.contexts import DEFAULT, TLS_FILES, Context, load_context, load_tls
from kedge.cli.flags import Flag, Options, many, value
from kedge.cli.options.fields import split_fields
from kedge.cli.target import current_context, environment_host, tls_from_environment
from kedge.client.hosts import parse_host
from kedge.errdefs import InvalidParameterError

if TYPE_CHECKING:
    from kedge.lib.jsontypes import JsonObject

_KEYS = frozenset({"from", "host", "skip-tls-verify", *TLS_FILES})
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})

ENDPOINT_FLAGS: tuple[Flag, ...] = (
    value("description", "TEXT", "What the context is for"),
    many(
        "docker",
        "host=ADDRESS,ca=FILE,cert=FILE,key=FILE",
        "The engine: host, ca, cert, key, skip-tls-verify, or from=CONTEXT",
    ),
)


class Endpoint(NamedTuple):
    """An engine and the key material to reach it."""

    host: str
    skip_tls_verify: bool
    tls: Mapping[str, bytes]


def parse_endpoint(options: Options) -> dict[str, str]:
    """Return the pairs of ``--docker``.

    Raises:
        InvalidParameterError: An unknown name, or no pair.
    """
    found: dict[str, str] = {}
    for text in options.texts("docker"):
        for field in split_fields(text):
            name, equals, content = field.partition("=")
            if not equals:
                raise InvalidParameterError(f"{field} must be formatted as key=value")
            if name not in _KEYS:
                raise InvalidParameterError(
                    f"unrecognized config key: {name}: want one of {', '.join(sorted(_KEYS))}"
                )
            found[name] = content
    return found


def make_endpoint(pairs: Mapping[str, str]) -> Endpoint:
    """Return the endpoint the pairs of ``--docker`` describe; key files are read.

    Raises:
        KedgeError: The address is malformed, or a file cannot be read.
    """
    if "from" in pairs:
        return endpoint_of(pairs["from"])
    host = pairs.get("host", "")
    if host:
        parse_host(host)
    tls: dict[str, bytes] = {}
    for key, file_name in TLS_FILES.items():
        if pairs.get(key):
            path = os.path.expanduser(pairs[key])
            try:
                with open(path, "rb") as file:
                    tls[file_name] = file.read()
            except OSError as error:
                raise InvalidParameterError(
                    f"open {path}: {(error.strerror or '').lower()}"
                ) from None
    return Endpoint(host, pairs.get("skip-tls-verify", "") in _TRUE, tls)


def endpoint_of(name: str) -> Endpoint:
    """Return the endpoint of a context; of ``default``, what the environment says."""
    if name != DEFAULT:
        context = load_context(name)
        return Endpoint(context.host, context.skip_tls_verify, load_tls(name))
    choice = tls_from_environment(os.environ)
    tls: dict[str, bytes] = {}
    if choice is not None:
        for file_name, path in zip(
            TLS_FILES.values(), (choice.ca, choice.cert, choice.key), strict=True
        ):
            if path:
                with open(path, "rb") as file:
                    tls[file_name] = file.read()
    skip = choice is not None and not choice.verify
    return Endpoint(str(environment_host(os.environ)), skip, tls)


def describe(name: str) -> str:
    """Return the description of a context."""
    if name == DEFAULT:
        return "Current DOCKER_HOST based configuration"
    return load_context(name).description


def source_name(options: Options) -> str:
    """Return the context to copy: ``--from``, or the one in use."""
    return options.text("from") or current_context(os.environ)


def make_context(name: str, description: str, endpoint: Endpoint) -> Context:
    """Return a context as it is stored."""
    metadata: JsonObject = {"Description": description} if description else {}
    docker: JsonObject = {"SkipTLSVerify": endpoint.skip_tls_verify}
    if endpoint.host:
        docker = {"Host": endpoint.host, **docker}
    return Context(name, {"Name": name, "Metadata": metadata, "Endpoints": {"docker": docker}})
