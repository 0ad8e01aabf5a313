"""Debian's docker-registry on a free loopback port, for tests that pull, push and cache."""

import json
import subprocess
from pathlib import Path

from tests.processes import free_port, wait_listening


class Registry:
    """One docker-registry process on a free loopback port."""

    def __init__(self, root: Path, *, htpasswd: str = "") -> None:
        port = free_port()
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
        wait_listening(self._process, port)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()
