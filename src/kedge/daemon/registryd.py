"""``python -m kedge.daemon.registryd JSON``: the process behind ``kedge registry serve``.

Puts the store, the rule about who may do what and the HTTP face together. SIGTERM and SIGINT end
it after the answers under way, SIGHUP reads certificates again, SIGUSR1 collects garbage now.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Generator
from typing import Final

from kedge import __version__
from kedge.daemon.process import failures_are_one_line, raise_file_limit, say
from kedge.daemon.registryconfig import RegistryConfig, parse_config
from kedge.daemon.registryorigin import OriginSettings, RegistryOrigin
from kedge.daemon.registrystorage import open_registry_store
from kedge.distribution.credentials import ANONYMOUS, Credentials
from kedge.errdefs import ConflictError, InvalidParameterError, KedgeError, SystemFailureError
from kedge.registry.access import Access, OpenAccess
from kedge.registry.passwords import PasswordAccess
from kedge.registry.store import RegistryStore
from kedge.registry.tokens import TokenAccess, TokenSettings
from kedge.server.limits import Limits
from kedge.server.listeners import Listener, open_listener
from kedge.server.registry.application import RegistryApplication
from kedge.server.registry.metrics import Metrics
from kedge.server.request import Request
from kedge.server.response import AnyResponse, Response
from kedge.server.serving import HttpServer

_GRACE_S: Final = 10.0
_LIMITS: Final = Limits(head_bytes=64 * 1024, buffer_bytes=1 << 20, drain_bytes=1 << 20)
_SECOND_NS: Final = 1_000_000_000


def main() -> None:
    """Serve until told to stop; failures are one line."""
    with failures_are_one_line("kedge registry"):
        if len(sys.argv) != 2:
            raise InvalidParameterError("start it with kedge registry serve")
        asyncio.run(_run(parse_config(sys.argv[1])))


async def _run(config: RegistryConfig) -> None:
    raise_file_limit()
    stop, collect_now = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, collect_now.set)
    access = _open_access(config)
    tls = _open_tls(config)
    loop.add_signal_handler(signal.SIGHUP, _reload, config, tls)
    metrics = Metrics()
    with _locked(config.root), contextlib.ExitStack() as undo:
        store = undo.enter_context(open_registry_store(config))
        origin = None
        if config.origin:
            origin = RegistryOrigin(store, _origin_settings(config))
            undo.callback(origin.close)
        application = RegistryApplication(
            store, access, metrics, read_only=config.read_only, origin=origin
        )
        server = _server(application)
        listeners = [open_listener(f"tcp://{address}") for address in config.listen]
        await server.serve(listeners, tls=tls)
        collecting = asyncio.create_task(_collect(config, store, metrics, collect_now))
        say(_greeting(config, listeners))
        measuring = await _serve_metrics(config, store, metrics)
        await stop.wait()
        say("stopping")
        collecting.cancel()
        for running in (server, *measuring):
            await running.close(grace_s=_GRACE_S)


def _server(application: Callable[[Request], Awaitable[AnyResponse]]) -> HttpServer:
    identity = f"Server: kedge-registry/{__version__}\r\n".encode()
    return HttpServer(application, identity_lines=identity, limits=_LIMITS)


async def _serve_metrics(
    config: RegistryConfig, store: RegistryStore, metrics: Metrics
) -> list[HttpServer]:
    if not config.metrics:
        return []

    async def answer(request: Request) -> AnyResponse:
        if (request.head.method, request.head.path) != ("GET", "/metrics"):
            return Response(404, b"the metrics are at /metrics\n", "text/plain")
        return metrics.answer(len(store.uploads))

    server = _server(answer)
    listener = open_listener(f"tcp://{config.metrics}")
    await server.serve([listener])
    say(f"metrics on http://{listener.address.removeprefix('tcp://')}/metrics")
    return [server]


async def _collect(
    config: RegistryConfig, store: RegistryStore, metrics: Metrics, now: asyncio.Event
) -> None:
    untagged = None if config.keep_untagged < 0 else int(config.keep_untagged * _SECOND_NS)
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(config.collect_every or None):
                await now.wait()
        now.clear()
        try:
            done = await asyncio.to_thread(
                store.collect,
                unused_ns=int(config.keep_unused * _SECOND_NS),
                untagged_ns=untagged,
            )
        except (KedgeError, OSError) as error:
            say(f"cannot collect garbage: {error}")
            continue
        metrics.count_collection(done)
        say(
            f"collected garbage: {done.manifests} manifests, {done.blobs} blobs"
            f" ({done.freed_bytes} bytes), {done.uploads} uploads given up"
        )


def _open_access(config: RegistryConfig) -> Access:
    if config.htpasswd:
        return PasswordAccess(config.htpasswd, anonymous_pull=config.anonymous_pull)
    if config.token_realm:
        return TokenAccess(
            TokenSettings(
                realm=config.token_realm,
                service=config.token_service,
                issuer=config.token_issuer,
                keys_path=config.token_keys,
            )
        )
    return OpenAccess()


def _origin_settings(config: RegistryConfig) -> OriginSettings:
    credentials = ANONYMOUS
    if config.origin_user:
        with open(config.origin_password_file, encoding="utf-8") as stream:
            credentials = Credentials(
                username=config.origin_user, password=stream.readline().rstrip("\n")
            )
    return OriginSettings(config.origin, config.origin_ttl, credentials)


def _open_tls(config: RegistryConfig) -> ssl.SSLContext | None:
    if not config.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_certificates(config, context)
    return context


def _load_certificates(config: RegistryConfig, context: ssl.SSLContext) -> None:
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
        if config.tls_client_ca:
            context.load_verify_locations(config.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise SystemFailureError(
            f"cannot use certificate {config.tls_cert} with key {config.tls_key}:"
            f" {error.strerror or error}"
        ) from error


def _reload(config: RegistryConfig, tls: ssl.SSLContext | None) -> None:
    if tls is None:
        return
    try:
        _load_certificates(config, tls)
    except SystemFailureError as error:
        say(f"{error}; the old one stays")
        return
    say("read the certificate again")


@contextlib.contextmanager
def _locked(root: str) -> Generator[None, None, None]:
    """Own ``root`` alone, also against one that was killed a moment ago and still dies."""
    os.makedirs(root, mode=0o700, exist_ok=True)
    descriptor = os.open(os.path.join(root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConflictError(f"another registry serves {root}") from None
    finally:
        os.close(descriptor)


def _greeting(config: RegistryConfig, listeners: list[Listener]) -> str:
    scheme = "https" if config.tls_cert else "http"
    where = ", ".join(
        f"{scheme}://{listener.address.removeprefix('tcp://')}" for listener in listeners
    )
    kind = f"a cache of {config.origin}" if config.origin else "a registry"
    more = ", read-only" if config.read_only else ""
    return f"serving {config.root} as {kind}{more} on {where}"


if __name__ == "__main__":
    main()
