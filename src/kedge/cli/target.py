"""Which engine a command talks to, by Docker's order.

``-c`` | ``-H`` > ``KEDGE_HOST`` > ``DOCKER_HOST`` > ``DOCKER_CONTEXT`` > ``currentContext`` of
``~/.docker/config.json`` > the default socket. An address of the environment is the context
``default``. How to get there (ssh, TLS) is added only where it is needed.
"""

from __future__ import annotations

import os

from kedge.cli.flags import UsageError
from kedge.client.hosts import DEFAULT_HOST, Host, TlsChoice, parse_host, select_host
from kedge.errdefs import NotFoundError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final


_DEFAULT: Final = "default"
_VARIABLES: Final = ("KEDGE_HOST", "DOCKER_HOST")


class GlobalOptions(NamedTuple):
    """What stands before the verb."""

    host: str = ""
    context: str = ""
    tls: TlsChoice | None = None

    @property
    def names_engine(self) -> bool:
        """Whether the command line says which engine."""
        return bool(self.host or self.context)


def overriding_variable(environ: Mapping[str, str]) -> str:
    """Return the variable that names an engine; empty without one."""
    return next((name for name in _VARIABLES if environ.get(name)), "")


def current_context(environ: Mapping[str, str]) -> str:
    """Return the name of the context in use."""
    if overriding_variable(environ):
        return _DEFAULT
    from kedge.cli.config import load_config  # noqa: PLC0415 - an address needs no file

    configured = load_config().get("currentContext")
    found = environ.get("DOCKER_CONTEXT") or configured
    return found if isinstance(found, str) and found else _DEFAULT


def environment_host(environ: Mapping[str, str]) -> Host:
    """Return the engine of the context ``default``."""
    return select_host("", environ)


def select_target(options: GlobalOptions, environ: Mapping[str, str]) -> Host:
    """Return the engine a command talks to, ready to be connected to.

    Raises:
        KedgeError: Options contradict each other, an address is malformed, or there is no such
            context.
    """
    if options.host and options.context:
        raise UsageError("conflicting options: cannot specify both --host and --context")
    name = _DEFAULT
    if not options.host:
        name = options.context or current_context(environ)
    if name != _DEFAULT:
        return _context_target(name)
    host = select_host(options.host, environ)
    if host.path:
        return host
    from kedge.cli.remotes import dialled  # noqa: PLC0415 - rarely needed

    return dialled(host, options.tls or tls_from_environment(environ))


def _context_target(name: str) -> Host:
    from kedge.cli.contexts import load_context, load_tls, tls_folder  # noqa: PLC0415 - rare
    from kedge.cli.remotes import dialled  # noqa: PLC0415 - rarely needed

    try:
        context = load_context(name)
    except NotFoundError as error:
        raise NotFoundError(f"{error}: see 'kedge context ls'") from None
    if not context.host:
        return DEFAULT_HOST
    files = load_tls(name)
    if not files and not context.skip_tls_verify:
        return dialled(parse_host(context.host), None)
    folder = os.path.join(tls_folder(name), "docker")
    paths = [
        os.path.join(folder, file) if file in files else ""
        for file in ("ca.pem", "cert.pem", "key.pem")
    ]
    return dialled(parse_host(context.host), TlsChoice(not context.skip_tls_verify, *paths))


def tls_from_environment(environ: Mapping[str, str]) -> TlsChoice | None:
    """Return what ``DOCKER_TLS_VERIFY``, ``DOCKER_TLS`` and ``DOCKER_CERT_PATH`` ask for."""
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not verify and not environ.get("DOCKER_TLS"):
        return None
    return default_tls(environ, verify=verify)


def default_tls(environ: Mapping[str, str], *, verify: bool) -> TlsChoice:
    """Return the files in ``DOCKER_CERT_PATH`` or Docker's folder, those that are there."""
    from kedge.cli.config import config_folder  # noqa: PLC0415 - rarely needed

    folder = environ.get("DOCKER_CERT_PATH") or config_folder(environ)
    paths = [os.path.join(folder, name) for name in ("ca.pem", "cert.pem", "key.pem")]
    return TlsChoice(verify, *(path if os.path.exists(path) else "" for path in paths))
