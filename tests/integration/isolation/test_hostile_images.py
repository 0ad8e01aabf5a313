"""Images made to lead the engine or the runtime astray."""

import io
import tarfile
from pathlib import Path

import pytest

from tests.engine import BUSYBOX, Engine

pytestmark = pytest.mark.integration


def image(engine: Engine, tag: str, *members: tuple[str, bytes, str], workdir: str = "") -> None:
    """Import a root file system of busybox with ``members``: name, tar type, link target."""
    assert BUSYBOX is not None
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, target, 0o755
            member.devmajor, member.devminor = 1, 11
            archive.addfile(member)
        member = tarfile.TarInfo("busybox")
        data = Path(BUSYBOX).read_bytes()
        member.size, member.mode = len(data), 0o755
        archive.addfile(member, io.BytesIO(data))
    change = f"\nWORKDIR {workdir}" if workdir else ""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, content in (
            ("Dockerfile", f"FROM scratch\nADD root.tar /{change}\n".encode()),
            ("root.tar", buffer.getvalue()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    engine.build_tar(context.getvalue(), tag)


def run(engine: Engine, tag: str, *words: str, flags: tuple[str, ...] = ()) -> str:
    done = engine.docker("run", "--rm", *flags, tag, "/busybox", *words, check=False, timeout_s=20)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "passwd",
    [
        ("etc/passwd", tarfile.CHRTYPE, ""),
        ("etc/passwd", tarfile.DIRTYPE, ""),
        ("etc", tarfile.SYMTYPE, "/proc/self/root/etc"),
    ],
)
def test_a_passwd_that_is_no_file_is_none(engine: Engine, passwd: tuple[str, bytes, str]) -> None:
    image(engine, "hostile", passwd)
    assert "unable to find user daemon" in run(engine, "hostile", "id", flags=("-u", "daemon"))
    if passwd[0] != "etc":
        assert run(engine, "hostile", "id", "-u", flags=("-u", "5")).strip() == "5"


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_symlinked_proc_or_sys_is_refused(engine: Engine, name: str) -> None:
    image(
        engine, "linked", (name, tarfile.SYMTYPE, "/elsewhere"), ("elsewhere", tarfile.DIRTYPE, "")
    )
    assert f"/{name} in the image is a symlink" in run(engine, "linked", "true")


def test_links_among_mount_points_stay_in_the_image(engine: Engine) -> None:
    target = engine.root / "outside"
    target.mkdir()
    image(
        engine, "points",
        ("etc/hosts", tarfile.SYMTYPE, f"../../../../../../..{target}/hosts"),
        ("etc/resolv.conf", tarfile.SYMTYPE, f"{target}/resolv.conf"),
    )  # fmt: skip
    assert "localhost" in run(engine, "points", "cat", "/etc/hosts")
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("workdir", ["/proc/self/fd/7", "/proc/self/fd/9/../..", "/out"])
def test_a_working_directory_cannot_lead_out(engine: Engine, workdir: str) -> None:
    image(engine, "cwd", ("out", tarfile.SYMTYPE, "/proc/1/cwd/../../../../.."))
    said = run(engine, "cwd", "ls", flags=("--workdir", workdir))
    assert str(engine.root) not in said


def test_a_null_device_of_the_image_is_not_used_to_mask(engine: Engine) -> None:
    image(
        engine,
        "null",
        ("dev/null", tarfile.SYMTYPE, "/etc/shadow"),
        ("dev/fd", tarfile.DIRTYPE, ""),
    )
    assert run(engine, "null", "wc", "-c", "/proc/keys").split()[0] == "0"
