"""Volumes and mounts on a real kernel, seen from inside the containers."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.errdefs import InvalidParameterError
from kedge.linux import mount as lm
from tests.engine import Engine, busybox_context

pytestmark = pytest.mark.integration


def run(engine: Engine, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    return engine.kedge("run", "--rm", *words, check=check)


def host_mounts(engine: Engine) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if f"{engine.root}/exec/volumes" in line]


def volumes(engine: Engine) -> list[str]:
    found = engine.get("/volumes")["Volumes"]
    assert isinstance(found, list)
    return [str(item["Name"]) for item in found if isinstance(item, dict)]


def test_a_volume_outlives_its_container(engine: Engine) -> None:
    run(engine, "-v", "keep:/x", "busybox", "sh", "-c", "echo hi >/x/f")
    assert run(engine, "-v", "keep:/y:ro", "busybox", "cat", "/y/f").stdout == "hi\n"
    failed = run(engine, "-v", "keep:/y:ro", "busybox", "touch", "/y/g", check=False)
    assert "Read-only file system" in failed.stderr


def test_a_new_volume_takes_the_images_content(engine: Engine) -> None:
    look = "ls -lna /vol; cat /vol/link/f"
    shown = run(engine, "-v", "taken:/vol", "seeded", "sh", "-c", look).stdout
    assert "content\n" in shown
    assert "drwxr-x---    3 100      101" in shown
    assert "link -> sub" in shown
    change = "rm -r /vol/sub /vol/link; touch /vol/own"
    run(engine, "-v", "taken:/vol", "seeded", "sh", "-c", change)
    assert run(engine, "-v", "taken:/vol", "seeded", "ls", "/vol").stdout == "own\n"
    assert run(engine, "-v", "none:/vol:nocopy", "seeded", "ls", "/vol").stdout == ""


def test_anonymous_volumes_go_with_their_container(engine: Engine) -> None:
    before = set(volumes(engine))
    run(engine, "-v", "/more", "seeded", "sh", "-c", "cat /vol/sub/f; touch /more/f")
    assert set(volumes(engine)) == before
    engine.kedge("create", "--name", "anon", "-v", "/more", "seeded")
    assert len(set(volumes(engine)) - before) == 2
    engine.kedge("rm", "-v", "anon")
    assert set(volumes(engine)) == before


def test_volumes_from(engine: Engine) -> None:
    engine.kedge(
        "run", "-d", "--name", "giver", "-v", "given:/g", "-v", "/anon", "busybox", "sleep", "60"
    )
    engine.kedge("exec", "giver", "sh", "-c", "echo 1 >/g/f; echo 2 >/anon/f")
    both = run(engine, "--volumes-from", "giver:ro", "busybox", "sh", "-c", "cat /g/f /anon/f")
    assert both.stdout == "1\n2\n"
    failed = run(engine, "--volumes-from", "giver:ro", "busybox", "touch", "/g/x", check=False)
    assert "Read-only" in failed.stderr
    # The taker's --rm leaves what the giver still uses.
    assert engine.kedge("exec", "giver", "cat", "/anon/f").stdout == "2\n"
    engine.kedge("rm", "-fv", "giver")
    assert "given" in volumes(engine)


def test_a_subpath_cannot_lead_out(engine: Engine) -> None:
    prepare = "mkdir -p /d/a/b; echo 1 >/d/a/f; ln -s / /d/root; ln -s a /d/ok; ln -s ../.. /d/up"
    run(engine, "-v", "parts:/d", "busybox", "sh", "-c", prepare)

    def look(subpath: str) -> "subprocess.CompletedProcess[str]":
        mount = f"type=volume,src=parts,dst=/m,volume-subpath={subpath}"
        return run(
            engine, "--mount", mount, "busybox", "sh", "-c", "ls -d /m/* || ls /m", check=False
        )

    assert look("a").stdout == "/m/b\n/m/f\n"
    assert look("ok").stdout == "/m/b\n/m/f\n"
    assert look("a/f").stdout == "/m\n"
    assert "no such file or directory" in look("nosuch").stderr
    for bad in ("root/etc", "up", "root"):
        assert "it leads out of the volume" in look(bad).stderr


def test_images_as_mounts(engine: Engine) -> None:
    def look(options: str, command: str) -> "subprocess.CompletedProcess[str]":
        mount = f"type=image,src=seeded,dst=/i{options}"
        return run(engine, "--mount", mount, "busybox", "sh", "-c", command, check=False)

    assert look("", "cat /i/vol/sub/f").stdout == "content\n"
    assert look(",image-subpath=vol/link", "cat /i/f").stdout == "content\n"
    assert look(",image-subpath=vol/sub/f", "cat /i").stdout == "content\n"
    assert "Read-only file system" in look("", "touch /i/x").stderr
    assert "no such file" in look(",image-subpath=nosuch", "true").stderr
    engine.kedge("tag", "seeded", "other")
    engine.build("FROM busybox\nRUN echo x >/x\n", "mounted")
    engine.kedge(
        "create", "--name", "holder", "--mount", "type=image,src=mounted,dst=/i", "busybox"
    )
    assert "using its referenced image" in engine.kedge("rmi", "mounted", check=False).stderr
    engine.kedge("rm", "holder")


def test_a_tmpfs_volume_is_one_for_all_and_gone_with_the_last(engine: Engine) -> None:
    engine.kedge(
        "volume",
        "create",
        "fast",
        "-o",
        "type=tmpfs",
        "-o",
        "device=tmpfs",
        "-o",
        "o=size=1m,uid=5",
    )
    engine.kedge("run", "-d", "--name", "one", "-v", "fast:/t", "busybox", "sleep", "60")
    engine.kedge("exec", "one", "sh", "-c", "echo shared >/t/f")
    shown = run(engine, "-v", "fast:/t", "busybox", "sh", "-c", "cat /t/f; stat -c %u /t")
    assert shown.stdout == "shared\n5\n"
    assert host_mounts(engine) == [f"{engine.root}/exec/volumes/fast"]
    engine.kedge("rm", "-f", "one")
    assert host_mounts(engine) == []
    engine.kedge("volume", "rm", "fast")


def test_mounts_and_references_survive_the_engine(bare_engine: Engine) -> None:
    engine = bare_engine
    engine.build_tar(busybox_context(), "busybox")
    engine.kedge("volume", "create", "hot", "-o", "type=tmpfs", "-o", "device=tmpfs")
    engine.kedge("run", "-d", "--name", "runner", "-v", "hot:/t", "-v", "cold:/c", "busybox",
                 "sh", "-c", "echo 1 >/t/f; echo 2 >/c/f; sleep 60")  # fmt: skip
    engine.kedge("run", "-d", "--rm", "--name", "ender", "-v", "gone:/t", "busybox", "sleep", "60")
    stray = engine.root / "exec/volumes/stray"
    stray.mkdir()
    lm.mount("tmpfs", str(stray), "tmpfs")
    engine.kill()
    engine.start()
    assert host_mounts(engine) == [f"{engine.root}/exec/volumes/hot"]
    shown = run(engine, "-v", "hot:/t", "-v", "cold:/c", "busybox", "cat", "/t/f", "/c/f")
    assert shown.stdout == "1\n2\n"
    assert "volume is in use" in engine.kedge("volume", "rm", "cold", check=False).stderr
    engine.kedge("rm", "-f", "runner", "ender")
    assert host_mounts(engine) == []
    engine.kedge("volume", "rm", "hot", "cold", "gone")


def test_a_file_system_that_cannot_be_mounted(engine: Engine) -> None:
    engine.kedge("volume", "create", "odd", "-o", "type=nosuchfs", "-o", "device=x")
    failed = run(engine, "-v", "odd:/t", "busybox", "true", check=False)
    assert "failed to mount local volume: mount x:" in failed.stderr
    engine.kedge(
        "volume", "create", "away", "-o", "type=none", "-o", "o=bind", "-o", "device=/nosuch"
    )
    failed = run(engine, "-v", "away:/t", "busybox", "true", check=False)
    assert "failed to mount local volume: mount /nosuch:" in failed.stderr
    assert host_mounts(engine) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A block device with an empty ext4 file system."""
    if shutil.which("mkfs.ext4") is None or shutil.which("losetup") is None:
        pytest.skip("there is no mkfs.ext4 or no losetup here")
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    found = subprocess.run(
        ["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip(f"this host gives no loop device: {found.stderr.strip()}")
    yield found.stdout.strip()
    subprocess.run(["losetup", "-d", found.stdout.strip()], check=True)


def test_a_file_system_of_a_disk(engine: Engine, disk: str) -> None:
    engine.docker("volume", "create", "--opt", "type=ext4", "--opt", f"device={disk}",
                  "--opt", "o=noatime,errors=remount-ro", "disk")  # fmt: skip
    look = "grep ' /d ' /proc/mounts; echo hi > /d/f"
    first = engine.docker("run", "--rm", "-v", "disk:/d", "busybox", "sh", "-c", look).stdout
    assert first.split()[:3] == [disk, "/d", "ext4"]
    assert {"rw", "noatime", "errors=remount-ro"} <= set(first.split()[3].split(","))
    assert host_mounts(engine) == []
    # The content is on the disk: it is there whenever that is mounted again.
    assert run(engine, "-v", "disk:/d:ro", "busybox", "cat", "/d/f").stdout == "hi\n"
    refused = run(engine, "-v", "disk:/d:ro", "busybox", "touch", "/d/g", check=False)
    assert "Read-only file system" in refused.stderr
    engine.docker("volume", "rm", "disk")


def test_a_file_system_of_a_server(engine: Engine) -> None:
    """Where the kernel knows NFS nobody answers at that address; here the kernel's word is told."""
    engine.docker("volume", "create", "--opt", "type=nfs", "--opt", "device=:/export",
                  "--opt", "o=addr=127.0.0.1,nolock,soft,timeo=1,retrans=0", "far")  # fmt: skip
    failed = run(engine, "-v", "far:/f", "busybox", "true", check=False)
    assert failed.returncode == 125
    assert "failed to mount local volume: mount :/export:" in failed.stderr
    assert "data: addr=127.0.0.1,nolock,soft,timeo=1,retrans=0: " in failed.stderr
    if "nfs" not in Path("/proc/filesystems").read_text().split():
        assert failed.stderr.rstrip().endswith(": no such device")
    assert host_mounts(engine) == []
    engine.docker("volume", "rm", "far")


def test_a_volume_that_is_a_folder_of_the_host(engine: Engine, tmp_path: Path) -> None:
    engine.kedge("volume", "create", "there", "-o", "type=none", "-o", "o=bind",
                 "-o", f"device={tmp_path}")  # fmt: skip
    assert run(engine, "-v", "there:/vol", "seeded", "cat", "/vol/sub/f").stdout == "content\n"
    assert (tmp_path / "sub/f").read_text() == "content\n"
    assert sorted(os.listdir(tmp_path)) == ["link", "sub"]
    engine.kedge("volume", "rm", "there")
    assert (tmp_path / "sub/f").exists()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A shared mount with two folders."""
    place = tmp_path / "shared"
    place.mkdir()
    lm.mount("tmpfs", str(place), "tmpfs")
    lm.mount("", str(place), "", lm.MS_SHARED)
    (place / "a").mkdir()
    (place / "b").mkdir()
    yield place
    subprocess.run(["umount", "-R", str(place)], check=True)


def test_propagation(engine: Engine, shared: Path) -> None:
    for name, mode in (("sharer", "rshared"), ("slave", "rslave"), ("private", "rprivate")):
        engine.kedge("run", "-d", "--privileged", "--name", name, "-v", f"{shared}:/p:{mode}",
                     "busybox", "sleep", "60")  # fmt: skip
    engine.kedge("exec", "sharer", "mount", "-t", "tmpfs", "x", "/p/a")
    lm.mount("tmpfs", str(shared / "b"), "tmpfs")
    try:
        assert os.path.ismount(shared / "a")
        for name, points in (("sharer", 2), ("slave", 2), ("private", 0)):
            found = engine.kedge("exec", name, "grep", "-c", " /p/[ab] ", "/proc/self/mountinfo",
                                 check=False)  # fmt: skip
            assert int(found.stdout) == points
    finally:
        engine.kedge("rm", "-f", "sharer", "slave", "private")


def test_read_only_goes_below(engine: Engine, shared: Path) -> None:
    lm.mount("tmpfs", str(shared / "b"), "tmpfs")
    touch = "touch /p/x; touch /p/b/x && echo below"
    assert (
        run(engine, "-v", f"{shared}:/p:ro", "busybox", "sh", "-c", touch, check=False).stdout == ""
    )
    mount = f"type=bind,src={shared},dst=/p,ro,bind-recursive=writable"
    assert run(engine, "--mount", mount, "busybox", "sh", "-c", touch).stdout == "below\n"
    assert not (shared / "x").exists()
    mount = f"type=bind,src={shared},dst=/p,ro,bind-recursive=readonly,bind-propagation=rprivate"
    assert run(engine, "--mount", mount, "busybox", "sh", "-c", touch, check=False).stdout == ""
    mount = f"type=bind,src={shared},dst=/p,bind-recursive=disabled"
    shown = run(engine, "--mount", mount, "busybox", "grep", "-c", " /p", "/proc/self/mountinfo")
    assert " /p/b " not in shown.stdout


def test_propagation_of_what_is_private_is_refused(engine: Engine, tmp_path: Path) -> None:
    place = tmp_path / "own"
    place.mkdir()
    lm.mount("tmpfs", str(place), "tmpfs")
    lm.mount("", str(place), "", lm.MS_PRIVATE)
    try:
        failed = run(engine, "-v", f"{place}:/p:rshared", "busybox", "true", check=False)
        assert f"path {place} is mounted on {place} but it is not a shared mount" in failed.stderr
    finally:
        lm.umount(str(place))


def test_ids_are_mapped(engine: Engine) -> None:
    # Not below pytest's own folders, which may be a file system without id-mapped mounts.
    place = engine.root / "ids"
    place.mkdir()
    (place / "f").write_text("x")
    for path in (place, place / "f"):
        os.chown(path, 1000, 1001)
    try:
        bind = f"{place}:/o:idmap=uids=1000-0-1;gids=1001-0-1"
        look = "stat -c '%u %g' /o/f; touch /o/new"
        assert (
            engine.docker("run", "--rm", "-v", bind, "busybox", "sh", "-c", look).stdout == "0 0\n"
        )
        made = (place / "new").stat()
        assert (made.st_uid, made.st_gid) == (1000, 1001)
    finally:
        shutil.rmtree(place)


def test_tmpfs_mounts(engine: Engine) -> None:
    mount = "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700"
    look = "stat -c %a /t; stat -c %u /u; grep -cE ' /[tu] .*size=(1024|2048)k' /proc/mounts"
    tmpfs = ("--tmpfs", "/u:size=2m,uid=7")
    shown = run(engine, "--mount", mount, *tmpfs, "busybox", "sh", "-c", look)
    assert shown.stdout == "700\n7\n2\n"


def test_a_missing_source(engine: Engine, tmp_path: Path) -> None:
    run(engine, "-v", f"{tmp_path}/new/deep:/x", "busybox", "touch", "/x/f")
    assert (tmp_path / "new/deep/f").exists()
    failed = run(engine, "--mount", f"type=bind,src={tmp_path}/no,dst=/x", "busybox", "true",
                 check=False)  # fmt: skip
    assert f"bind source path does not exist: {tmp_path}/no" in failed.stderr
    assert not (tmp_path / "no").exists()


def test_what_a_failed_create_made_is_gone(engine: Engine) -> None:
    before = set(volumes(engine))
    body = {"Image": "seeded", "HostConfig": {"Binds": ["fresh:/a", "/x", "b/d:/c"]}}
    with (
        contextlib.closing(engine.client()) as client,
        pytest.raises(InvalidParameterError, match="includes invalid characters"),
    ):
        client.request(
            "POST", "/containers/create", body=json.dumps(body).encode(),
            content_type="application/json",
        )  # fmt: skip
    assert set(volumes(engine)) == before
