"""Connections to one engine for several threads: one each while it has something to ask."""

import threading
from collections.abc import Generator
from contextlib import contextmanager

from kedge.client.hosts import Host
from kedge.client.http import API_VERSION, EngineClient


class ClientPool:
    """Hands out connections; idle ones are used again."""

    def __init__(self, host: Host, version: str = API_VERSION) -> None:
        """Connect to ``host`` when asked."""
        self.host = host
        self.version = version
        """Of the API; one that an older engine has said saves each connection to ask again."""
        self._idle: list[EngineClient] = []
        self._lock = threading.Lock()

    @contextmanager
    def client(self) -> Generator[EngineClient]:
        """Yield a connection nobody else uses meanwhile."""
        with self._lock:
            client = self._idle.pop() if self._idle else EngineClient(self.host, self.version)
        try:
            yield client
        except BaseException:
            # An answer may be half read.
            client.close()
            raise
        with self._lock:
            self._idle.append(client)

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            for client in self._idle:
                client.close()
            self._idle.clear()
