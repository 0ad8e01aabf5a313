"""A TCP proxy on loopback that cuts, delays, corrupts and reorders what passes through it."""

import socket
import threading
from contextlib import suppress
from enum import StrEnum
from typing import Final

_PIECE: Final = 16_384
_EVERY: Final = 40
"""One piece in so many is spoiled."""
_CALM_BYTES: Final = 2_000
"""Heads pass unharmed, so that faults hit what is counted on: bodies."""


class Fault(StrEnum):
    """What happens to a stream."""

    CUT = "cut"
    DELAY = "delay"
    CORRUPT = "corrupt"
    REORDER = "reorder"


class FaultyProxy:
    """Passes connections on to ``target``, and spoils some of them while `faults` are set."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._seen = 0
        self._open: list[socket.socket] = []
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self.faults: tuple[Fault, ...] = ()
        self.spoiled: list[Fault] = []
        """What was done, in order."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def host(self) -> str:
        """Where clients connect to."""
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def close(self) -> None:
        """End every connection."""
        self._closing.set()
        # Closing alone does not wake a thread that accepts.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._threads[0].join(timeout=60)
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=60)

    def _accept(self) -> None:
        while True:
            try:
                client = self._server.accept()[0]
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                # As a network does whose other end is down.
                client.close()
                continue
            # Each direction has descriptors of its own, so that each can close them.
            pairs = ((client.dup(), server.dup()), (server, client))
            for source, goal in pairs:
                source.settimeout(20)
                goal.settimeout(20)
                thread = threading.Thread(target=self._pass_on, args=(source, goal))
                self._threads.append(thread)
                self._open.append(source)
                thread.start()

    def _pass_on(self, source: socket.socket, goal: socket.socket) -> None:
        passed = 0
        with source, goal:
            with suppress(OSError):
                while data := source.recv(_PIECE):
                    fault = self._choose() if passed > _CALM_BYTES and len(data) > 500 else None
                    passed += len(data)
                    goal.sendall(self._spoil(fault, data))
                    if fault is Fault.CUT:
                        break
            for connection in (source, goal):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _spoil(self, fault: Fault | None, data: bytes) -> bytes:
        half = len(data) // 2
        match fault:
            case Fault.CUT:
                return data[:half]
            case Fault.DELAY:
                self._closing.wait(0.05)
                return data
            case Fault.CORRUPT:
                return data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
            case Fault.REORDER:
                return data[half:] + data[:half]
            case None:
                return data

    def _choose(self) -> Fault | None:
        with self._lock:
            self._seen += 1
            if not self.faults or self._seen % _EVERY:
                return None
            fault = self.faults[len(self.spoiled) % len(self.faults)]
            self.spoiled.append(fault)
            return fault
