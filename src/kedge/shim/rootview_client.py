"""The engine's end of `kedge.shim.rootview`: a root that exists while it is held. asyncio."""

import asyncio
from socket import socket

from kedge.errdefs import KedgeError
from kedge.shim.client import NoShimError
from kedge.shim.framing import Message, close_all
from kedge.shim.messages import decode_failure, part
from kedge.shim.rootview import ViewRequest, encode_view
from kedge.shim.rpc import RpcConnection


class RootView:
    """A descriptor of a root with mounts in it; `close` takes the mounts away."""

    def __init__(self, peer: socket) -> None:
        """Serve ``peer``, on which the helper is about to answer."""
        self._root: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._rpc = RpcConnection(peer, self._take_event, "the view of a file system")
        self._rpc.on_lost = self._lose

    def ask(self, request: ViewRequest) -> None:
        """Say what to mount, as the first words on a fresh connection."""
        self._rpc.send(encode_view(request))

    async def wait_root(self) -> int:
        """Return the descriptor, which stays this object's.

        Raises:
            NoShimError: Nobody answered, so nothing has happened.
            KedgeError: Why it cannot be mounted; nothing of it is left.
        """
        return await asyncio.shield(self._root)

    def close(self) -> None:
        """Let the mounts go."""
        if self._root.done() and self._root.exception() is None:
            close_all([self._root.result()])
            self._root = asyncio.get_running_loop().create_future()
        self._rpc.close()

    def _take_event(self, message: Message) -> None:
        if message.body.get("event") == "view" and len(message.fds) == 1 and not self._root.done():
            self._root.set_result(message.fds[0])
            return
        close_all(message.fds)
        if message.body.get("event") == "view_failed":
            self._fail(decode_failure(part(message.body, "error")))

    def _lose(self, _error: KedgeError) -> None:
        self._fail(NoShimError("no process answered that was to mount a file system"))

    def _fail(self, error: KedgeError) -> None:
        if not self._root.done():
            self._root.set_exception(error)
            # Nobody need be interested any more; asyncio complains about that otherwise.
            self._root.exception()
