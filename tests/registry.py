"""Debian's docker-registry on a free loopback port, for tests that pull, push and cache."""

import json
import socket
import subprocess
import time
from pathlib import Path


class Registry:
    """One docker-registry process on a free loopback port."""

    def __init__(self, root: Path, *, htpasswd: str = "") -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        root.mkdir()
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(root / "data")}},
            "http": {"addr": self.host},
        }
        if htpasswd:
            (root / "htpasswd").write_text(htpasswd)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(root / "htpasswd")}}
        (root / "config.yml").write_text(json.dumps(config))
        self._log = (root / "log").open("wb")
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(root / "config.yml")],
            stdout=self._log,
            stderr=self._log,
        )
        self._wait(port)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
        self._log.close()

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return
