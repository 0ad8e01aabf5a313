"""Getting to an engine elsewhere: through ssh, or with TLS.

Both end in a plain socket pair, so that everything above speaks to an engine elsewhere as it does
to a unix socket: with poll, and with either half closed on its own.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading

from kedge.errdefs import InvalidParameterError, UnavailableError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.hosts import Host, TlsChoice
    from kedge.client.http import Connection


_CHUNK: Final = 1 << 16
_CONNECT_TIMEOUT_S: Final = 30


def dialled(host: Host, tls: TlsChoice | None) -> Host:
    """Return ``host`` with the way to it; a plain one needs none."""
    if host.scheme == "ssh":
        return host._replace(dial=lambda: dial_ssh(host))
    if tls is None or host.path:
        return host
    context = make_ssl_context(tls)
    return host._replace(dial=lambda: dial_tls(host, context))


def ssh_command(host: Host) -> list[str]:
    """Return the command whose input and output are the engine's connection."""
    user, at, name = host.name.rpartition("@")
    command = ["ssh", "-o", f"ConnectTimeout={_CONNECT_TIMEOUT_S}", "-T"]
    command += ["-l", user] if at else []
    command += ["-p", str(host.port)] if host.port else []
    remote = ["kedge", *(["-H", f"unix://{host.remote_path}"] if host.remote_path else [])]
    return [*command, "--", name, *remote, "system", "dial-stdio"]


def dial_ssh(host: Host) -> Connection:
    """Return a connection that ssh carries.

    Raises:
        UnavailableError: There is no ssh here.
    """
    ours, theirs = socket.socketpair()
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), number) for number in (0, 1)]
    try:
        os.posix_spawnp(
            "ssh",
            ssh_command(host),
            os.environ,
            file_actions=actions,
            # Ctrl-c is for the container, not for the connection to it.
            setpgroup=0,
        )
    except OSError as error:
        ours.close()
        raise UnavailableError(
            f"cannot run ssh to reach {host}: {(error.strerror or '').lower()}"
        ) from None
    finally:
        theirs.close()
    return ours


def make_ssl_context(choice: TlsChoice) -> ssl.SSLContext:
    """Return how to speak TLS.

    Raises:
        InvalidParameterError: A file cannot be read or holds no key; it is named.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if not choice.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif choice.ca:
            context.load_verify_locations(choice.ca)
        else:
            context.load_default_certs()
        if choice.cert and choice.key:
            context.load_cert_chain(choice.cert, choice.key)
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(name for name in (choice.ca, choice.cert, choice.key) if name)
        raise InvalidParameterError(
            f"could not read TLS files {names}: {error.strerror or error}"
        ) from None
    return context


def dial_tls(host: Host, context: ssl.SSLContext) -> Connection:
    """Return a plain connection to a thread that speaks TLS with the engine.

    Raises:
        UnavailableError: The engine's certificate is refused, or it refuses ours.
        OSError: It cannot be reached.
    """
    raw = socket.create_connection((host.name, host.port), timeout=_CONNECT_TIMEOUT_S)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=host.name)
    try:
        _shake_hands(raw, tls, incoming, outgoing)
    except ssl.SSLError as error:
        raw.close()
        raise UnavailableError(f"no TLS connection to {host}: {error.reason or error}") from None
    raw.settimeout(None)
    ours, theirs = socket.socketpair()
    session = (tls, incoming, outgoing)
    lock = threading.Lock()
    sender = threading.Thread(target=_send, args=(raw, theirs, session, lock), daemon=True)
    sender.start()

    def receive() -> None:
        _receive(raw, theirs, session, lock)
        sender.join()
        raw.close()
        theirs.close()

    threading.Thread(target=receive, daemon=True).start()
    return ours


_Session = tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]


def _shake_hands(
    raw: socket.socket, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> None:
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            raw.sendall(outgoing.read())
            data = raw.recv(_CHUNK)
            if not data:
                raise ssl.SSLError("the engine hung up") from None
            incoming.write(data)
            continue
        raw.sendall(outgoing.read())
        return


def _send(
    raw: socket.socket, plain: socket.socket, session: _Session, lock: threading.Lock
) -> None:
    tls, _, outgoing = session
    try:
        while True:
            data = plain.recv(_CHUNK)
            with lock:
                if data:
                    tls.write(data)
                else:
                    _close_notify(tls)
                pending = outgoing.read()
            raw.sendall(pending)
            if not data:
                return
    except (OSError, ssl.SSLError):
        # The engine has gone; the other direction tells.
        return


def _close_notify(tls: ssl.SSLObject) -> None:
    """Say that nothing more is sent; the engine's answer still comes."""
    try:
        tls.unwrap()
    except (ssl.SSLWantReadError, ssl.SSLSyscallError):
        return


def _receive(
    raw: socket.socket, plain: socket.socket, session: _Session, lock: threading.Lock
) -> None:
    tls, incoming, outgoing = session
    try:
        while True:
            with lock:
                try:
                    data = tls.read(_CHUNK)
                except ssl.SSLWantReadError:
                    data = None
                pending = outgoing.read()
            if pending:
                raw.sendall(pending)
            if data is None:
                arrived = raw.recv(_CHUNK)
                if not arrived:
                    return
                with lock:
                    incoming.write(arrived)
            elif not data:
                return
            else:
                plain.sendall(data)
    except (OSError, ssl.SSLError):
        # Whoever waits for an answer sees the end of the connection.
        return
    finally:
        _end(plain)


def _end(plain: socket.socket) -> None:
    """Tell whoever reads that nothing more comes; who has hung up knows."""
    try:
        plain.shutdown(socket.SHUT_WR)
    except OSError:
        return
