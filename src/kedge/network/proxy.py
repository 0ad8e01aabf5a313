"""The userland proxy: carries published connections the packet filter does not translate.

These are connections to ``[::1]``, from link-local addresses, to a container without IPv6, and all
of them on a host without nf_tables. One daemon thread serves every port of the engine with
``epoll``; there is no process per port. The container sees the bridge's address as the client.

The listening sockets belong to `kedge.network.ports`, which holds them to claim the port.
"""

import contextlib
import errno
import os
import select
import socket
import threading
import time
from typing import Final, TypeAlias

from kedge.network.relay import TcpRelay, UdpFlow

SocketAddress: TypeAlias = "tuple[str, int] | tuple[str, int, int, int]"

_ACCEPTS_PER_EVENT: Final = 64
_DATAGRAM_BYTES: Final = 65535
_DATAGRAMS_PER_EVENT: Final = 64
_UDP_IDLE_S: Final = 90.0
"""Docker's own figure for a proxied UDP client that has gone silent."""


class Listener:
    """One claimed port and where its traffic goes."""

    __slots__ = ("flows", "is_stream", "listening", "relays", "target")

    def __init__(self, listening: socket.socket, target: tuple[str, int]) -> None:
        """Serve ``listening`` (already bound, for TCP also listening) towards ``target``."""
        self.listening = listening
        self.target = target
        self.is_stream = listening.type == socket.SOCK_STREAM
        self.relays: set[TcpRelay] = set()
        self.flows: dict[SocketAddress, UdpFlow] = {}


class UserlandProxy:
    """One thread that forwards; started with the first port, stopped by `close`."""

    def __init__(self) -> None:
        """Create a proxy that does nothing yet and has no thread."""
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._lock = threading.Lock()
        self._listeners: dict[int, Listener] = {}
        self._streams: dict[int, tuple[Listener, TcpRelay]] = {}
        self._interests: dict[int, int] = {}
        self._datagrams: dict[int, tuple[Listener, UdpFlow]] = {}
        self._dropped: list[Listener] = []
        self._thread: threading.Thread | None = None
        self._is_closing = False

    def add(self, listening: socket.socket, target: tuple[str, int]) -> Listener:
        """Serve a port from now on; the socket is made non-blocking."""
        listening.settimeout(0)
        listener = Listener(listening, target)
        with self._lock:
            self._listeners[listening.fileno()] = listener
            self._epoll.register(listening.fileno(), select.EPOLLIN)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="kedge-userland-proxy", daemon=True
                )
                self._thread.start()
        return listener

    def remove(self, listener: Listener) -> None:
        """Stop serving a port: it is free when this returns; its connections end soon after."""
        with self._lock:
            descriptor = listener.listening.fileno()
            if descriptor >= 0:
                self._listeners.pop(descriptor, None)
                self._epoll.unregister(descriptor)
                listener.listening.close()
            self._dropped.append(listener)
        os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """End every connection and the thread."""
        for listener in list(self._listeners.values()):
            self.remove(listener)
        self._is_closing = True
        os.eventfd_write(self._wake_fd, 1)
        if self._thread is not None:
            self._thread.join()
        self._epoll.close()
        os.close(self._wake_fd)

    def _run(self) -> None:
        while not self._is_closing or self._dropped:
            events = self._epoll.poll(_UDP_IDLE_S / 3 if self._datagrams else -1)
            for descriptor, event in events:
                # One bad connection must not end the service of all the others.
                with contextlib.suppress(OSError):
                    self._dispatch(descriptor, event)
            self._drop_removed()
            self._expire(time.monotonic())

    def _dispatch(self, descriptor: int, event: int) -> None:
        if descriptor == self._wake_fd:
            os.eventfd_read(self._wake_fd)
        elif (listener := self._listeners.get(descriptor)) is not None:
            if listener.is_stream:
                self._accept(listener)
            else:
                self._receive(listener)
        elif (stream := self._streams.get(descriptor)) is not None:
            self._advance(*stream, event)
        elif (datagram := self._datagrams.get(descriptor)) is not None:
            datagram[1].return_answers(datagram[0].listening, time.monotonic())

    def _accept(self, listener: Listener) -> None:
        for _ in range(_ACCEPTS_PER_EVENT):
            try:
                client, _address = listener.listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    # Level-triggered: without a pause the thread would spin until files close.
                    time.sleep(0.05)
                return
            try:
                relay = TcpRelay(client, listener.target)
            except OSError:
                client.close()
                continue
            listener.relays.add(relay)
            for descriptor, _interest in relay.interests():
                self._streams[descriptor] = (listener, relay)
            self._watch(relay)

    def _advance(self, listener: Listener, relay: TcpRelay, event: int) -> None:
        if relay.advance(event):
            self._watch(relay)
        else:
            self._end_relay(listener, relay)

    def _watch(self, relay: TcpRelay) -> None:
        """Tell epoll what the relay waits for.

        A descriptor nothing is wanted of is taken out: a hang-up is reported even to an empty
        interest, over and over.
        """
        for descriptor, interest in relay.interests():
            present = self._interests.get(descriptor, 0)
            if interest == present:
                continue
            if not interest:
                self._epoll.unregister(descriptor)
                del self._interests[descriptor]
                continue
            if present:
                self._epoll.modify(descriptor, interest)
            else:
                self._epoll.register(descriptor, interest)
            self._interests[descriptor] = interest

    def _end_relay(self, listener: Listener, relay: TcpRelay) -> None:
        for descriptor, _interest in relay.interests():
            self._streams.pop(descriptor, None)
            self._interests.pop(descriptor, None)
        listener.relays.discard(relay)
        relay.close()

    def _receive(self, listener: Listener) -> None:
        for _ in range(_DATAGRAMS_PER_EVENT):
            try:
                data, client = listener.listening.recvfrom(_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            flow = listener.flows.get(client)
            if flow is None:
                flow = UdpFlow(client, listener.target)
                listener.flows[client] = flow
                self._datagrams[flow.fileno()] = (listener, flow)
                self._epoll.register(flow.fileno(), select.EPOLLIN)
            flow.forward(data, time.monotonic())

    def _drop_removed(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, []
        for listener in dropped:
            for relay in list(listener.relays):
                self._end_relay(listener, relay)
            for flow in list(listener.flows.values()):
                self._end_flow(listener, flow)

    def _expire(self, now: float) -> None:
        idle = [
            (listener, flow)
            for listener, flow in self._datagrams.values()
            if now - flow.last_used >= _UDP_IDLE_S
        ]
        for listener, flow in idle:
            self._end_flow(listener, flow)

    def _end_flow(self, listener: Listener, flow: UdpFlow) -> None:
        self._datagrams.pop(flow.fileno(), None)
        listener.flows.pop(flow.client, None)
        flow.close()
