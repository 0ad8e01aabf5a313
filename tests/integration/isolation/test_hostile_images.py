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
    done = engine.docker("run", "--rm", *flags, tag, "/busybox", *words, check=False)
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


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_link_to_a_folder_of_the_same_name_is_a_link(engine: Engine, name: str) -> None:
    image(
        engine,
        "deep",
        (name, tarfile.SYMTYPE, f"/elsewhere/{name}"),
        (f"elsewhere/{name}", tarfile.DIRTYPE, ""),
    )
    assert f"/{name} in the image is a symlink" in run(engine, "deep", "true")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("-v", "vol:/proc"), '"/proc" cannot be mounted because it is not of type proc'),
        (("--tmpfs", "/proc"), '"/proc" cannot be mounted because it is not of type proc'),
        (("-v", "vol:/proc/none"), '"/proc/none" cannot be mounted because it is inside /proc'),
        (("-v", "vol:/proc/sys/kernel"), "cannot be mounted because it is inside /proc"),
        (("-v", "vol:/link"), "cannot be mounted because it is inside /proc"),
    ],
)
def test_nothing_covers_proc(engine: Engine, flags: tuple[str, ...], text: str) -> None:
    image(engine, "cover", ("link", tarfile.SYMTYPE, "/proc/sys"))
    assert text in run(engine, "cover", "true", flags=flags)


def test_files_that_lxcfs_computes_may_be_bound(engine: Engine) -> None:
    file = engine.root / "uptime"
    file.write_text("1.00 2.00\n")
    image(engine, "plain")
    flags = ("-v", f"{file}:/proc/uptime")
    assert run(engine, "plain", "cat", "/proc/uptime", flags=flags) == "1.00 2.00\n"


def test_a_procfs_may_be_bound_on_proc(engine: Engine) -> None:
    image(engine, "plain")
    flags = ("--pid", "host", "-v", "/proc:/proc")
    assert run(engine, "plain", "test", "-e", "/proc/meminfo", flags=flags) == ""


def test_a_mount_destination_over_a_link_stays_inside(engine: Engine) -> None:
    target = engine.root / "aside"
    image(engine, "over", ("link", tarfile.SYMTYPE, f"../../../..{engine.root}"))
    flags = ("-v", "vol:/link/aside")
    assert run(engine, "over", "test", "-d", str(target), flags=flags) == ""
    assert not target.exists()


@pytest.mark.parametrize("name", ["etc/passwd", "etc/group"])
def test_a_fifo_holds_nobody_up(engine: Engine, name: str) -> None:
    image(engine, "fifo", (name, tarfile.FIFOTYPE, ""))
    said = run(engine, "fifo", "grep", "Uid", "/proc/self/status", flags=("-u", "5"))
    assert said.split()[1] == "5"


@pytest.mark.parametrize("name", ["etc/passwd", "etc/group"])
def test_links_in_a_circle_end(engine: Engine, name: str) -> None:
    image(engine, "circle", (name, tarfile.SYMTYPE, f"/{name}"))
    assert "too many levels of symbolic links" in run(engine, "circle", "id", flags=("-u", "5"))
