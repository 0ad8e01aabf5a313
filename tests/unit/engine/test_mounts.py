"""Docker's forms of mounts, and its words about those that make no sense."""

from pathlib import Path

import pytest

from kedge.api.types.config import (
    BindOptions,
    DriverConfig,
    HostConfig,
    ImageOptions,
    Mount,
    TmpfsOptions,
    VolumeOptions,
)
from kedge.engine.idmaps import IdRange, parse_id_map
from kedge.engine.mountplan import MountPlan
from kedge.engine.mounts import parse_bind, parse_mount, parse_mounts
from kedge.engine.propagation import check_propagation, find_mount
from kedge.engine.tmpfs import parse_tmpfs_options
from kedge.errdefs import InvalidParameterError, KedgeError


def test_the_forms_of_v() -> None:
    named = parse_bind("data:/x:ro,nocopy")
    assert (named.kind, named.name, named.is_writable, named.copies_image) == (
        "volume", "data", False, False,
    )  # fmt: skip
    anonymous = parse_bind("/x/")
    assert (anonymous.is_anonymous, anonymous.destination, anonymous.mode) == (True, "/x", "z")
    bind = parse_bind("/a/../b:/x//y:rslave")
    assert (bind.source, bind.destination, bind.propagation) == ("/b", "/x/y", "rslave")
    assert bind.creates_source


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "invalid volume specification: ''"),
        (":/x", "invalid volume specification: ':/x'"),
        ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
        ("/x:ro", "invalid volume specification: '/x:ro'"),
        ("/a:/x:fast", "invalid mode: fast"),
        ("/a:/x:ro,rw", "invalid mode: ro,rw"),
        ("/a:/x:idmap=uids=1-2", "invalid idmap option 'uids=1-2'"),
        ("/a:/x:idmap", "needs a user namespace"),
        ("data:/x:rshared", "field BindOptions must not be specified"),
        (
            "data:x",
            (
                "invalid volume specification: 'data:x': invalid mount config for type \"volume\": "
                "invalid mount path: 'x' mount path must be absolute"
            ),
        ),
        (
            "/a:/.",
            (
                "invalid volume specification: '/a:/.': invalid mount config for type \"bind\": "
                "invalid specification: destination can't be '/'"
            ),
        ),
    ],
)
def test_bad_v(value: str, text: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_bind(value)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        (Mount(type="bind", target="/x"), "field Source must not be empty"),
        (Mount(type="bind", source="/a"), "field Target must not be empty"),
        (Mount(type="bind", source="a", target="/x"), "invalid mount path: 'a'"),
        (Mount(type="bind", source="/a", target="/"), "destination can't be '/'"),
        (
            Mount(type="bind", source="/a", target="/x", volume_options=VolumeOptions()),
            "field VolumeOptions must not be specified",
        ),
        (
            Mount(
                type="bind", source="/a", target="/x", bind_options=BindOptions(propagation="odd")
            ),
            "invalid propagation mode: odd",
        ),
        (
            Mount(
                type="bind",
                source="/a",
                target="/x",
                bind_options=BindOptions(read_only_force_recursive=True),
            ),
            "needs the mount to be ReadOnly",
        ),
        (Mount(type="volume", target="/x", read_only=True), "must not set ReadOnly mode"),
        (
            Mount(type="volume", target="/x", volume_options=VolumeOptions(subpath="a")),
            "must not set Subpath when using anonymous volumes",
        ),
        (
            Mount(
                type="volume",
                source="data",
                target="/x",
                volume_options=VolumeOptions(subpath="a/../../b"),
            ),
            "subpath must be a relative path within the volume",
        ),
        (
            Mount(
                type="image",
                source="img",
                target="/x",
                image_options=ImageOptions(subpath="/etc"),
            ),
            "subpath must be a relative path within the image",
        ),
        (Mount(type="image", target="/x"), "field Source must not be empty"),
        (Mount(type="tmpfs", source="x", target="/x"), "field Source must not be specified"),
        (
            Mount(type="tmpfs", target="/x", tmpfs_options=TmpfsOptions(size_bytes=-1)),
            "invalid size -1",
        ),
        (
            Mount(type="tmpfs", target="/x", tmpfs_options=TmpfsOptions(options=[["bogus"]])),
            "invalid tmpfs option",
        ),
        (
            Mount(type="tmpfs", target="/x", tmpfs_options=TmpfsOptions(options=[["a", "b,c"]])),
            "invalid option array length",
        ),
        (Mount(type="odd", target="/x"), 'invalid mount config for type "odd": mount type unknown'),
        (Mount(type="npipe", target="/x"), 'mount type "npipe" is not supported'),
    ],
)
def test_bad_mount(mount: Mount, text: str) -> None:
    with pytest.raises(KedgeError) as caught:
        parse_mount(mount)
    assert text in str(caught.value)


def test_a_volume_with_all_options() -> None:
    plan = parse_mount(
        Mount(
            type="volume",
            source="data",
            target="/x",
            volume_options=VolumeOptions(
                no_copy=True,
                labels={"a": "b"},
                subpath="a/./b",
                driver_config=DriverConfig(name="local", options={"type": "tmpfs"}),
            ),
        )
    )
    assert (plan.subpath, plan.copies_image, plan.volume_labels, plan.volume_options) == (
        "a/b", False, {"a": "b"}, {"type": "tmpfs"},
    )  # fmt: skip


def test_what_replaces_what() -> None:
    inherited = [
        MountPlan(kind="volume", name="theirs", destination="/a"),
        MountPlan(kind="volume", name="theirs", destination="/b"),
        MountPlan(kind="volume", name="theirs", destination="/c"),
    ]
    host = HostConfig(binds=["mine:/b"], tmpfs={"/t": ""})
    plans = parse_mounts(host, volumes=["/a", "/b", "/d/", "/t"], inherited=inherited)
    assert {plan.destination: plan.name for plan in plans} == {
        "/a": "theirs", "/b": "mine", "/c": "theirs", "/d": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    "host",
    [
        HostConfig(binds=["/a:/x", "data:/x/"]),
        HostConfig(binds=["/a:/x"], tmpfs={"/x": ""}),
        HostConfig(mounts=[Mount(type="tmpfs", target="/x")], tmpfs={"/x/": ""}),
    ],
)
def test_two_mounts_on_one_place(host: HostConfig) -> None:
    with pytest.raises(InvalidParameterError, match=r"^Duplicate mount point: /x$"):
        parse_mounts(host)


def test_tmpfs_options() -> None:
    assert parse_tmpfs_options("rw,size=64m,remount,uid=5,exec") == [
        "rw", "size=64m", "uid=5", "exec",
    ]  # fmt: skip
    for bad in ("bogus", "size", "ro=1", "lowerdir=/"):
        with pytest.raises(InvalidParameterError, match="invalid tmpfs option"):
            parse_tmpfs_options(bad)


def test_id_maps() -> None:
    found = parse_id_map("uids=1000-0-1#0-1-10;gids=5-6-7")
    assert found.uids == (IdRange(1000, 0, 1), IdRange(0, 1, 10))
    assert found.gids == (IdRange(5, 6, 7),)
    assert parse_id_map("uids=1-2-3").gids == (IdRange(1, 2, 3),)


@pytest.mark.parametrize(
    "text",
    [
        "uids=", "uids=1-2-0", "uids=a-b-c", "uids=1-2-3;uids=1-2-3", "x=1-2-3", "uids=-1-2-3",
        "uids=0-0-4294967296", "uids=0-0-5#4-9-1", "uids=0-0-5#9-4-1", "uids=1-2-3;",
        "#".join(["uids=0-0-1", *(f"{n}-{n}-1" for n in range(1, 400))]),
    ],
)  # fmt: skip
def test_bad_id_maps(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        parse_id_map(text)


MOUNTINFO = """\
21 1 254:0 / / rw shared:1 - ext4 /dev/vda rw
30 21 0:30 / /srv rw master:3 - tmpfs x rw
31 30 0:31 / /srv/a\\040b rw shared:4 master:2 - tmpfs x rw
32 21 0:32 / /srv2 rw - tmpfs x rw
"""


def test_the_mount_of_a_path() -> None:
    assert find_mount("/srv/a b/c", MOUNTINFO) == ("/srv/a b", ["shared:4", "master:2"])
    assert find_mount("/srv/x", MOUNTINFO) == ("/srv", ["master:3"])
    assert find_mount("/srv2", MOUNTINFO) == ("/srv2", [])
    assert find_mount("/home", MOUNTINFO) == ("/", ["shared:1"])


def test_propagation_needs_a_peer_group(tmp_path: Path) -> None:
    mountinfo = f"{tmp_path}/mountinfo"
    with open(mountinfo, "w", encoding="utf-8") as stream:
        stream.write(MOUNTINFO)
    for source, mode in (("/srv2", "rprivate"), ("/home", "rshared"), ("/srv", "slave")):
        check_propagation(source, mode, mountinfo=mountinfo)
    with pytest.raises(InvalidParameterError, match="/srv but it is not a shared mount"):
        check_propagation("/srv/x", "rshared", mountinfo=mountinfo)
    with pytest.raises(InvalidParameterError, match="it is not a shared or slave mount"):
        check_propagation("/srv2/x", "rslave", mountinfo=mountinfo)
