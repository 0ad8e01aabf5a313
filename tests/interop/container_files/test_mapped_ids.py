"""``docker cp`` where the ids on disk are not the container's, and into volumes with options."""

import os
from collections.abc import Iterator

import pytest

from kedge.engine.userns import DEFAULT_FIRST_ID
from tests.engine import Engine, busybox_context, make_tar, running_engine
from tests.interop.container_files.test_cp import get, put

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def remapped() -> Iterator[Engine]:
    with running_engine("--userns-remap=default") as engine:
        engine.build_tar(busybox_context(), "busybox")
        yield engine


@pytest.fixture(params=["running", "created", "exited"])
def box(request: pytest.FixtureRequest, remapped: Engine) -> Iterator[str]:
    """A container with a volume and a folder of the host that belongs to its user 3."""
    shared = remapped.root / "shared"
    shared.mkdir(exist_ok=True)
    os.chown(shared, DEFAULT_FIRST_ID + 3, DEFAULT_FIRST_ID + 4)
    flags = ("--name", "box", "-v", "named:/v", "-v", f"{shared}:/s", "busybox")
    if request.param == "running":
        remapped.docker("run", "-d", *flags, "sleep", "1000")
    else:
        verb = "create" if request.param == "created" else "run"
        remapped.docker(verb, *flags, "true")
    yield "box"
    remapped.docker("rm", "-fv", "box")


def owner(engine: Engine, box: str, path: str) -> tuple[int, int]:
    with get(engine, box, path) as tar:
        member = tar.getmembers()[0]
    return member.uid, member.gid


def test_ids_are_the_containers(remapped: Engine, box: str) -> None:
    for place in ("/srv", "/v"):
        folder = remapped.root / "in"
        folder.mkdir(exist_ok=True)
        (folder / "file").write_text("x")
        os.chown(folder / "file", 7, 8)
        remapped.docker("cp", f"{folder}/.", f"{box}:{place}")
        assert owner(remapped, box, f"{place}/file") == (7, 8)
        put(remapped, box, place, make_tar({"mine": b"1"}, {"link": "mine"}))
        assert owner(remapped, box, f"{place}/mine") == (0, 0)
        assert owner(remapped, box, f"{place}/link") == (0, 0)
    volume = remapped.root / "data/volumes/named/_data"
    found = [(volume / name).lstat() for name in ("file", "mine")]
    assert [(each.st_uid, each.st_gid) for each in found] == [(7, 8), (0, 0)]


def test_a_folder_of_the_host(remapped: Engine, box: str) -> None:
    assert owner(remapped, box, "/s") == (3, 4)
    put(remapped, box, "/s", make_tar({"new": b"1"}))
    assert owner(remapped, box, "/s/new") == (0, 0)
    assert (remapped.root / "shared/new").stat().st_uid == DEFAULT_FIRST_ID


def test_an_id_the_container_does_not_have(remapped: Engine, box: str) -> None:
    source = remapped.root / "foreign"
    source.write_text("x")
    os.chown(source, 70000, 0)
    done = remapped.docker("cp", str(source), f"{box}:/f", check=False)
    assert done.returncode == 1
    assert "container ID 70000 cannot be mapped to a host ID" in done.stderr


def test_a_stopped_container_shows_its_volumes_with_options(engine: Engine) -> None:
    """Bind by option, tmpfs and subpath: as the container would see them."""
    folder = engine.root / "device"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/deep").write_text("deep")
    options = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={folder}")
    engine.docker("volume", "create", "bound", *options)
    engine.docker("volume", "create", "ram", "--opt", "type=tmpfs", "--opt", "device=tmpfs")
    engine.docker(
        "create", "--name", "box", "-v", "bound:/b", "-v", "ram:/ram",
        "--mount", "type=volume,source=bound,target=/sub,volume-subpath=sub", "busybox", "true",
    )  # fmt: skip
    with get(engine, "box", "/b") as tar:
        assert "b/sub/deep" in tar.getnames()
    with get(engine, "box", "/sub") as tar:
        assert tar.getnames() == ["sub", "sub/deep"]
    put(engine, "box", "/sub", make_tar({"put": b"1"}))
    assert (folder / "sub/put").read_bytes() == b"1"
    put(engine, "box", "/ram", make_tar({"gone": b"1"}))
    with get(engine, "box", "/ram") as tar:
        assert tar.getnames() == ["ram"]
    mounts = engine.root / "exec/volumes"
    assert not mounts.exists() or list(mounts.iterdir()) == []


def test_an_id_mapped_bind_is_shown_as_in_the_container(engine: Engine) -> None:
    folder = engine.root / "mapped"
    folder.mkdir()
    os.chown(folder, 1000, 1000)
    for name, verb in (("stopped", "create"), ("running", "run")):
        flags = ("-d",) if verb == "run" else ()
        bind = f"{folder}:/m:idmap=uids=1000-0-1;gids=1000-0-1"
        engine.docker(verb, *flags, "--name", name, "-v", bind, "busybox", "sleep", "1000")
        assert owner(engine, name, "/m") == (0, 0)
        put(engine, name, "/m", make_tar({name: b"1"}))
        assert (folder / name).stat().st_uid == 1000
