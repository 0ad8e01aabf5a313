"""The same input on two data roots, sent by different clients, is the same image."""

import contextlib
import io
import json
import os
import tarfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.engine import BUSYBOX, Engine, running_engine

pytestmark = pytest.mark.integration

DOCKERFILE = """FROM scratch
ARG SOURCE_DATE_EPOCH
COPY --chmod=755 bb /bin/busybox
ENV PATH=/bin
RUN ["/bin/busybox","--install","-s","/bin"]
RUN mkdir -p /a/b && for i in 3 1 2; do echo $i > /a/b/$i; done && ln /a/b/1 /a/b/9 && \\
    mknod /a/n c 1 3 && mkfifo /a/p && dd if=/dev/zero of=/a/big bs=1M seek=30 count=0
WORKDIR /w/x
COPY . /src
ADD u.tar /un
COPY --chown=5:6 --link d1 /l
RUN rm -rf /src/d3 && mv /src/d4 /src/d7 && chmod 700 /a && date +%s > /when; rm /when
"""


def write_context(folder: Path, order: str, mtime: int) -> Path:
    """Write a context; only the order and the times differ from another one."""
    assert BUSYBOX is not None
    folder.mkdir()
    for name in order:
        (folder / f"d{name}").mkdir()
        (folder / f"d{name}" / "x").write_text(name)
    with tarfile.open(folder / "u.tar", "w") as archive:
        info = tarfile.TarInfo("t/q")
        info.size, info.mtime = 1, 1_700_000_000
        archive.addfile(info, io.BytesIO(b"q"))
    (folder / "bb").write_bytes(Path(BUSYBOX).read_bytes())
    (folder / "Dockerfile").write_text(DOCKERFILE)
    for path in folder.rglob("*"):
        os.utime(path, (mtime, mtime))
    return folder


def built(engine: Engine, context: Path, out: Path) -> str:
    metadata = out.with_suffix(".json")
    engine.kedge(
        "build", "--build-arg", "SOURCE_DATE_EPOCH=1000000000", "--metadata-file", str(metadata),
        "-o", f"type=oci,rewrite-timestamp=true,dest={out}", str(context),
    )  # fmt: skip
    return str(json.loads(metadata.read_text())["containerimage.digest"])


@contextlib.contextmanager
def stricter_umask() -> Generator[None]:
    """Let whatever is started meanwhile make files for its user alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def test_two_machines_agree_on_every_byte(tmp_path: Path) -> None:
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    one = write_context(tmp_path / "one", "12345", 1_600_000_000)
    two = write_context(tmp_path / "two", "53124", 1_650_000_000)
    with running_engine() as first, stricter_umask(), running_engine() as second:
        digests = {
            built(first, one, tmp_path / "1.tar"),
            built(second, two, tmp_path / "2.tar"),
            built(second, one, tmp_path / "3.tar"),
        }
    assert len(digests) == 1
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with tarfile.open(tmp_path / "1.tar") as archive:
        assert all(member.mtime == 0 for member in archive)
