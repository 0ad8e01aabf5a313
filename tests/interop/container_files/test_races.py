"""Copies against a hostile container: it swaps a directory with a link to / all the time."""

import contextlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.client.http import EngineClient
from kedge.errdefs import KedgeError
from tests.engine import Engine, make_tar

pytestmark = pytest.mark.interop

_SWAP = (
    "mkdir -p /d/tmp /e/tmp; echo inside >/d/tmp/marker; while :; do"
    " mv /d /x; ln -s / /d; rm /d; ln -s ../../../../../.. /d; rm /d; mv /x /d; done"
)
_ROUNDS = 60
# Far more than it takes until both have once found the directory in its place.
_MOST_ROUNDS = 3000


@pytest.fixture
def hostile(shared_engine: Engine) -> Iterator[Engine]:
    shared_engine.docker("run", "-d", "--name", "hostile", "busybox", "sh", "-c", _SWAP)
    yield shared_engine
    shared_engine.docker("rm", "-f", "hostile")


def test_nothing_outside_is_read_or_written(hostile: Engine, tmp_path: Path) -> None:
    secret = Path("/tmp") / f"kedge-race-{os.getpid()}"
    written = secret.with_name(f"kedge-written-{os.getpid()}")
    secret.write_text("outside")
    done = {"read": 0, "written": 0}
    try:
        with contextlib.closing(hostile.client()) as client:
            for number in range(_MOST_ROUNDS):
                if number >= _ROUNDS and all(done.values()):
                    break
                done["written"] += _write(client, written.name)
                names = _read(client)
                done["read"] += names is not None
                assert secret.name not in " ".join(names or ())
        assert not written.exists()
    finally:
        secret.unlink()
        written.unlink(missing_ok=True)
    # The race was one: both went well at least once.
    assert all(done.values()), done


def _write(client: EngineClient, name: str) -> bool:
    try:
        client.request(
            "PUT",
            "/containers/hostile/archive",
            {"path": "/d/tmp"},
            body=make_tar({name: b"x"}),
            content_type="application/x-tar",
        ).read()
    except KedgeError:
        return False
    return True


def _read(client: EngineClient) -> list[str] | None:
    try:
        data = client.get("/containers/hostile/archive", {"path": "/d/tmp"}).read()
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return archive.getnames()
    except (KedgeError, tarfile.TarError):
        return None
