"""What a client's session lends a build: secrets, agents, and who it is at a registry."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from kedge.builder.buildkit.messages import (
    AGENT_REQUEST,
    BYTES,
    CREDENTIALS,
    CREDENTIALS_REQUEST,
    EMPTY,
    SECRET,
    SECRET_REQUEST,
)
from kedge.builder.buildkit.rpc import stream_call
from kedge.builder.buildkit.session import Session
from kedge.builder.buildkit.wire import blob, text
from kedge.errdefs import KedgeError, NotFoundError

_SECRET: Final = "/moby.buildkit.secrets.v1.Secrets/GetSecret"  # noqa: S105 - a path
_CHECK_AGENT: Final = "/moby.sshforward.v1.SSH/CheckAgent"
_FORWARD_AGENT: Final = "/moby.sshforward.v1.SSH/ForwardAgent"
_CREDENTIALS: Final = "/moby.filesync.v1.Auth/Credentials"
_CHUNK: Final = 32 * 1024

Check = Callable[[], None]


class SessionSecrets(Mapping[str, bytes]):
    """The client's secrets, each fetched when a step asks for it, from the build's thread."""

    def __init__(self, session: Session, check: Check) -> None:
        """Ask ``session``; ``check`` raises when the build is cancelled."""
        self._session = session
        self._check = check

    def __getitem__(self, identity: str) -> bytes:
        """Return one secret.

        Raises:
            KeyError: The client has none of this id.
        """
        asked = self._session.call(_SECRET, SECRET_REQUEST, SECRET, {"ID": identity})
        try:
            return blob(self._session.wait(asked, self._check), "data")
        except NotFoundError:
            raise KeyError(identity) from None

    def __iter__(self) -> Iterator[str]:
        """Yield nothing: a client does not list its secrets."""
        return iter(())

    def __len__(self) -> int:
        """Return 0, as nothing is listed."""
        return 0


class SessionAgents(Mapping[str, str]):
    """Sockets that lead to the client's ssh agents, each made when a step asks for it."""

    def __init__(self, session: Session, folder: str, check: Check) -> None:
        """Make sockets below ``folder``, which must be private; `close` removes them."""
        self._session = session
        self._folder = folder
        self._check = check
        self._servers: dict[str, tuple[str, asyncio.Server]] = {}

    def __getitem__(self, identity: str) -> str:
        """Return the path of a socket to the agent.

        Raises:
            KeyError: The client forwards none of this id.
        """
        if identity not in self._servers:
            try:
                made = self._session.wait(self._open(identity), self._check)
            except NotFoundError:
                raise KeyError(identity) from None
            self._servers[identity] = made
        return self._servers[identity][0]

    def __iter__(self) -> Iterator[str]:
        """Yield the ids asked for so far."""
        return iter(self._servers)

    def __len__(self) -> int:
        """Return how many were asked for so far."""
        return len(self._servers)

    async def _open(self, identity: str) -> tuple[str, asyncio.Server]:
        await self._session.call(_CHECK_AGENT, AGENT_REQUEST, EMPTY, {"ID": identity})
        folder = tempfile.mkdtemp(dir=self._folder)
        path = os.path.join(folder, "agent.sock")

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.closing(writer), contextlib.suppress(ConnectionError):
                await self._forward(identity, reader, writer)

        server = await asyncio.start_unix_server(connected, path)
        os.chmod(path, 0o600)
        return path, server

    async def _forward(
        self, identity: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        method = stream_call(self._session.channel, _FORWARD_AGENT, BYTES, BYTES)
        with contextlib.suppress(GRPCError, StreamTerminatedError, ProtocolError):
            async with method.open(metadata=[("buildkit.ssh.id", identity)]) as stream:
                await stream.send_request()

                async def ask() -> None:
                    while data := await reader.read(_CHUNK):
                        await stream.send_message({"data": data})
                    await stream.end()

                asking = asyncio.create_task(ask())
                try:
                    while (answer := await stream.recv_message()) is not None:
                        writer.write(blob(answer, "data"))
                        await writer.drain()
                finally:
                    asking.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await asking

    def close(self) -> None:
        """Remove the sockets, from any thread."""
        servers, self._servers = self._servers, {}

        async def shut() -> None:
            for _, server in servers.values():
                server.close()

        with contextlib.suppress(KedgeError):
            self._session.wait(shut(), lambda: None)
        for path, _ in servers.values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.rmdir(os.path.dirname(path))


def registry_user(session: Session, host: str, check: Check) -> tuple[str, str]:
    """Return user name and password of the client at a registry, from the build's thread.

    Both are empty where it has none; an empty name alone says that the other is a token.
    """
    asked = session.call(_CREDENTIALS, CREDENTIALS_REQUEST, CREDENTIALS, {"Host": host})
    try:
        answer = session.wait(asked, check)
    except NotFoundError:
        return "", ""
    return text(answer, "Username"), text(answer, "Secret")
