"""``docker cp``, ``export`` and ``diff`` with the official client, container running or not."""

import base64
import contextlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from kedge.errdefs import ForbiddenError, InvalidParameterError, NotFoundError
from tests.engine import Engine, make_tar

pytestmark = pytest.mark.interop


@pytest.fixture
def boxes(engine: Engine, tmp_path: Path) -> list[str]:
    """A container that runs, one that never did, and one that has ended."""
    (tmp_path / "volume").mkdir()
    binds = ("-v", f"{tmp_path}/volume:/volume", "-v", f"{tmp_path}/volume:/fixed:ro")
    flags = (*binds, "--user", "web", "busybox")
    engine.docker("run", "-d", "--name", "running", *flags, "sleep", "1000")
    engine.docker("create", "--name", "created", *flags, "true")
    engine.docker("run", "--name", "exited", *flags, "true")
    return ["running", "created", "exited"]


def put(engine: Engine, name: str, path: str, tar: bytes, **flags: bool) -> None:
    with contextlib.closing(engine.client()) as client:
        client.request(
            "PUT", f"/containers/{name}/archive", {"path": path, **flags},
            body=tar, content_type="application/x-tar",
        ).read()  # fmt: skip


def get(engine: Engine, name: str, path: str) -> tarfile.TarFile:
    with contextlib.closing(engine.client()) as client:
        data = client.get(f"/containers/{name}/archive", {"path": path}).read()
    return tarfile.open(fileobj=io.BytesIO(data))


def test_files_and_folders_go_both_ways(engine: Engine, boxes: list[str], tmp_path: Path) -> None:
    for box in boxes:
        source = tmp_path / f"source-{box}"
        source.mkdir()
        (source / "a").write_text("alpha")
        (source / "link").symlink_to("a")
        os.chown(source / "a", 1234, 4321)
        engine.docker("cp", str(source), f"{box}:/srv")
        engine.docker("cp", f"{box}:/srv/.", str(tmp_path / f"back-{box}"))
        assert (tmp_path / f"back-{box}" / "a").read_text() == "alpha"
        assert os.readlink(tmp_path / f"back-{box}" / "link") == "a"
        with get(engine, box, "/srv") as tar:
            assert sorted(tar.getnames()) == ["srv", "srv/a", "srv/link"]
            assert (tar.getmember("srv/a").uid, tar.getmember("srv/a").gid) == (1234, 4321)
        engine.docker("cp", str(source / "a"), f"{box}:/volume/into")
        assert (tmp_path / "volume" / "into").read_text() == "alpha"
        with get(engine, box, "/volume/") as tar:
            assert tar.getnames() == ["volume", "volume/into"]


def test_replaced_and_deleted_layers_files_show(engine: Engine, boxes: list[str]) -> None:
    for box in boxes:
        put(engine, box, "/etc", make_tar({"group": b"changed\n", "new": b"1"}))
        with get(engine, box, "/etc/group") as tar:
            member = tar.extractfile("group")
            assert member is not None
            assert member.read() == b"changed\n"
        lines = engine.docker("diff", box).stdout.splitlines()
        assert "C /etc/group" in lines
        assert "A /etc/new" in lines
        assert not {"A /proc", "A /sys", "A /etc/hosts", "A /etc/resolv.conf"} & set(lines)


def test_links_lead_nowhere_but_inside(engine: Engine, boxes: list[str], tmp_path: Path) -> None:
    for box in boxes:
        secret = tmp_path / "secret"
        secret.write_text("host")
        links = {"out": str(secret), "dir": "../../../../../../etc", "loop": "loop"}
        put(engine, box, "/", make_tar({}, links))
        with get(engine, box, "/dir/") as tar:
            assert "dir/passwd" in tar.getnames()
        with get(engine, box, "/dir") as tar:
            assert [member.issym() for member in tar.getmembers()] == [True]
        with pytest.raises(NotFoundError, match="Could not find the file /out/ in container"):
            get(engine, box, "/out/")
        with pytest.raises(NotFoundError, match="Could not find the file /loop/ in container"):
            get(engine, box, "/loop/")
        put(engine, box, "/dir", make_tar({"landed": b"here"}))
        with get(engine, box, "/etc/landed") as tar:
            assert tar.getnames() == ["landed"]
        assert not Path("/etc/landed").exists()
        with pytest.raises(InvalidParameterError):
            put(engine, box, "/tmp/../srv/..", make_tar({"../../escaped": b"x"}))
        assert not (tmp_path / "escaped").exists()


def test_what_a_path_is(engine: Engine, boxes: list[str]) -> None:
    for box in boxes:

        def stat(path: str, box: str = box) -> dict[str, object]:
            with contextlib.closing(engine.client()) as client:
                answer = client.request("HEAD", f"/containers/{box}/archive", {"path": path})
                found = answer.headers["x-docker-container-path-stat"]
            return dict(json.loads(base64.b64decode(found)))

        link = stat("/bin/ls")
        assert (link["name"], link["linkTarget"]) == ("ls", "/bin/busybox")
        assert int(str(link["mode"])) & 1 << 27
        folder = stat("/bin/")
        assert (folder["name"], int(str(folder["mode"]))) == ("bin", 1 << 31 | 0o755)
        assert stat("/.")["name"] == "."
        assert stat("/")["name"] == "/"
        file = stat("bin/busybox")
        assert (file["name"], file["mode"], file["linkTarget"]) == ("busybox", 0o755, "")


def test_refusals_say_why(engine: Engine, boxes: list[str]) -> None:
    for box in boxes:
        tar = make_tar({"f": b"x"})
        with pytest.raises(NotFoundError, match="Could not find the file /no in container"):
            put(engine, box, "/no", tar)
        with pytest.raises(InvalidParameterError, match="extraction point is not a directory"):
            put(engine, box, "/etc/passwd", tar)
        with pytest.raises(ForbiddenError, match="mounted volume is marked read-only"):
            put(engine, box, "/fixed", tar)
        with pytest.raises(InvalidParameterError, match="cannot overwrite directory"):
            put(engine, box, "/", make_tar({"etc": b"x"}), noOverwriteDirNonDir=True)
        with pytest.raises(InvalidParameterError, match="bad parameter: 'path' cannot be empty"):
            get(engine, box, "")
        with pytest.raises(NotFoundError, match="No such container: nobody"):
            get(engine, "nobody", "/")


def test_a_read_only_root_takes_nothing_but_its_volumes_do(engine: Engine, tmp_path: Path) -> None:
    engine.docker(
        "create", "--name", "fixed-box", "--read-only", "-v", f"{tmp_path}:/free", "busybox"
    )
    try:
        with pytest.raises(ForbiddenError, match="container rootfs is marked read-only"):
            put(engine, "fixed-box", "/etc", make_tar({"f": b"x"}))
        put(engine, "fixed-box", "/free", make_tar({"f": b"x"}))
        assert (tmp_path / "f").read_bytes() == b"x"
    finally:
        engine.docker("rm", "-f", "fixed-box")


def test_copied_files_can_become_the_users(engine: Engine, boxes: list[str]) -> None:
    for box in boxes:
        put(engine, box, "/bin", make_tar({"mine": b"x"}), copyUIDGID=True)
        with get(engine, box, "/bin/mine") as tar:
            member = tar.getmember("mine")
        assert (member.uid, member.gid) == (100, 101)


def test_export_is_the_root_without_mounts(
    engine: Engine, boxes: list[str], tmp_path: Path
) -> None:
    for box in boxes:
        (tmp_path / "volume" / "hidden").write_text("x")
        engine.docker("export", "-o", str(tmp_path / f"{box}.tar"), box)
        with tarfile.open(tmp_path / f"{box}.tar") as tar:
            names = set(tar.getnames())
        assert {"bin/busybox", "etc/passwd"} <= names
        assert "volume/hidden" not in names
