"""An S3-compatible server in a process of its own, on a free loopback port, with one bucket."""

import contextlib
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast

from tests.processes import free_port, wait_listening

BUCKET: Final = "images"
SECRET: Final = "s3-secret-that-nobody-sees"
ENVIRON: Final = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class _Client(Protocol):
    def create_bucket(self, **fields: str) -> object: ...

    def close(self) -> None: ...


class S3Server:
    """The server, moto's; everything it has is in its memory."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self._log = (directory / "s3.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **ENVIRON},
        )
        wait_listening(self._process, port)
        self.make_bucket(BUCKET)

    def make_bucket(self, name: str) -> None:
        """Make one more bucket."""
        session = import_module("botocore.session").get_session()
        session.set_credentials(ENVIRON["AWS_ACCESS_KEY_ID"], SECRET)
        client = session.create_client("s3", region_name="us-east-1", endpoint_url=self.endpoint)
        with contextlib.closing(cast("_Client", client)) as opened:
            opened.create_bucket(Bucket=name)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()
