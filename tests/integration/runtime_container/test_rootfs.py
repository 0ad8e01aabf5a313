"""The mounts of a container, seen from inside, and hostile images."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kedge.errdefs import ForbiddenError, InvalidParameterError, KedgeError, NotFoundError
from kedge.lib.jsontypes import JsonObject
from kedge.oci.mounts import Mount
from tests.integration.runtime_container.conftest import Run

pytestmark = pytest.mark.integration

Spec = Callable[[str], JsonObject]


def add_mount(document: JsonObject, destination: str, source: str, *options: str) -> None:
    kind = "tmpfs" if source == "tmpfs" else "bind"
    mounts = document["mounts"]
    assert isinstance(mounts, list)
    mounts.append(
        {"destination": destination, "type": kind, "source": source, "options": [*options]}
    )


def mounts_in(output: str) -> dict[str, tuple[str, set[str]]]:
    """Return type and options by mount point from the output of mount(8)."""
    found: dict[str, tuple[str, set[str]]] = {}
    for line in output.splitlines():
        words = line.split(" ")
        if len(words) == 6 and words[1] == "on":
            found[words[2]] = (words[4], set(words[5].strip("()").split(",")))
    return found


def test_the_standard_mounts(run: Run, shell_spec: Spec) -> None:
    found = mounts_in(run(shell_spec("mount")).output)
    assert found["/proc"][0] == "proc"
    assert {"nosuid", "size=65536k", "mode=755"} <= found["/dev"][1]
    assert {"gid=5", "mode=620", "ptmxmode=666"} <= found["/dev/pts"][1]
    assert found["/dev/mqueue"][0] == "mqueue"
    assert {"ro", "nosuid", "nodev", "noexec"} <= found["/sys"][1]
    assert "ro" in found["/sys/fs/cgroup"][1]
    for path in ("/proc/bus", "/proc/sys", "/proc/irq"):
        assert "ro" in found[path][1]
    # Nothing of the host's tree shows.
    assert all(path == "/" or path.startswith(("/proc", "/dev", "/sys")) for path in found)


def test_masked_and_readonly_paths(run: Run, shell_spec: Spec) -> None:
    result = run(
        shell_spec(
            "wc -c < /proc/keys; ls /sys/firmware | wc -l; echo x > /proc/sys/kernel/domainname; "
            "touch /sys/firmware/x; stat -c %t:%T /proc/timer_list"
        )
    )
    lines = result.output.splitlines()
    assert lines[:2] == ["0", "0"]
    assert sum("Read-only file system" in line for line in lines) == 2
    assert lines[-1] == "1:3"


def test_devices_and_links(run: Run, shell_spec: Spec) -> None:
    document = shell_spec(
        "stat -c '%n %a %t:%T' /dev/null /dev/tty /dev/extra/fuse; echo x > /dev/null; "
        "readlink /dev/fd; readlink /dev/ptmx; readlink /dev/stdout; cat /dev/extra/fuse"
    )
    linux = document["linux"]
    assert isinstance(linux, dict)
    linux["devices"] = [
        {"type": "c", "path": "/dev/extra/fuse", "major": 10, "minor": 229, "fileMode": 0o640}
    ]
    result = run(document)
    lines = result.output.splitlines()
    assert lines[:3] == [
        "/dev/null 666 1:3",
        "/dev/tty 666 5:0",
        "/dev/extra/fuse 640 a:e5",
    ]
    assert lines[3:6] == ["/proc/self/fd", "pts/ptmx", "/proc/self/fd/1"]
    assert "Operation not permitted" in lines[6], "the device cgroup forbids it"
    assert result.mountpoints == ("/proc", "/dev", "/sys")


def test_binds_their_flags_and_created_mountpoints(
    run: Run, shell_spec: Spec, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("content\n")
    document = shell_spec(
        "mount; cat /a/dir/file /etc/one; touch /a/dir/x; touch /a/rw/new; chmod 755 /a/rw/new"
    )
    add_mount(document, "/a/dir", str(data), "rbind", "ro", "nosuid")
    add_mount(document, "/a/rw", str(data), "bind", "noexec")
    add_mount(document, "/etc/one", str(data / "file"), "bind")
    result = run(document)
    found = mounts_in(result.output)
    assert {"ro", "nosuid"} <= found["/a/dir"][1]
    assert {"rw", "noexec"} <= found["/a/rw"][1]
    assert result.output.count("content\n") == 2
    assert "/a/dir/x: Read-only file system" in result.output
    assert (data / "new").exists()
    assert not (data / "x").exists()
    assert set(result.mountpoints) >= {"/a", "/a/dir", "/a/rw", "/etc/one"}


def test_a_recursive_readonly_bind(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("touch /host/dev/shm/kedge-x /host/x")
    add_mount(document, "/host", "/", "rbind", "rro", "rprivate")
    result = run(document)
    assert result.output.count("Read-only file system") == 2


def test_a_readonly_root(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("touch /x; touch /run/x && echo run-is-writable")
    document["root"] = {"path": "rootfs", "readonly": True}
    add_mount(document, "/run", "tmpfs", "size=1m")
    output = run(document).output
    assert "/x: Read-only file system" in output
    assert "run-is-writable" in output


def test_a_tmpfs_with_what_it_hides(run: Run, bundle: Path, shell_spec: Spec) -> None:
    (bundle / "rootfs/data").mkdir()
    (bundle / "rootfs/data/kept").write_text("kept\n")
    document = shell_spec("cat /data/kept; touch /data/x")
    add_mount(document, "/data", "tmpfs", "tmpcopyup", "ro")
    output = run(document).output
    assert output.startswith("kept\n")
    assert "Read-only file system" in output


@pytest.mark.parametrize("layers", [1, 200])
def test_an_overlay_of_many_layers(
    run: Run, bundle: Path, shell_spec: Spec, tmp_path: Path, layers: int
) -> None:
    lowers: list[str] = []
    for number in range(layers):
        layer = tmp_path / "layers-with-a-name-of-some-length" / str(number)
        layer.mkdir(parents=True)
        (layer / f"from-{number}").touch()
        lowers.append(str(layer))
    (bundle / "rootfs").rename(bundle / "base")
    (bundle / "rootfs").mkdir()
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    options = (
        f"lowerdir={':'.join([*lowers, str(bundle / 'base')])}",
        f"upperdir={tmp_path}/upper",
        f"workdir={tmp_path}/work",
    )
    document = shell_spec("ls -d /from-* | wc -l; echo new > /etc/new")
    result = run(document, rootfs=(Mount("overlay", "overlay", options),))
    assert result.output == f"{layers}\n"
    assert (tmp_path / "upper/etc/new").read_text() == "new\n"
    assert list((bundle / "rootfs").iterdir()) == [], "nothing is mounted on the host"


def test_sysctls_of_the_container(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced")
    linux = document["linux"]
    assert isinstance(linux, dict)
    linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel/shm_rmid_forced": "1"}
    assert run(document).output == "1\n1\n"


def test_a_symlink_in_the_image_cannot_send_a_mount_to_the_host(
    run: Run, bundle: Path, shell_spec: Spec, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    source = tmp_path / "source"
    source.mkdir()
    (source / "evil").touch()
    (bundle / "rootfs/link").symlink_to(victim)
    (bundle / "rootfs/up").symlink_to("../../../../../../../../")
    document = shell_spec("ls /link /up/out")
    add_mount(document, "/link", str(source), "bind")
    add_mount(document, "/up/out", str(source), "bind")
    result = run(document)
    assert result.output.count("evil") == 2
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_symlinked_proc_or_sys_is_refused(
    run: Run, bundle: Path, shell_spec: Spec, name: str
) -> None:
    (bundle / "rootfs/elsewhere").mkdir()
    (bundle / "rootfs" / name).symlink_to("elsewhere")
    with pytest.raises(ForbiddenError, match=f"/{name} in the image is a symlink"):
        run(shell_spec("true"))


def test_a_fake_null_device_masks_nothing_wrongly(run: Run, bundle: Path, shell_spec: Spec) -> None:
    """CVE-2025-31133: /dev/null of the image may be a symlink to a file worth writing."""
    document = shell_spec("stat -c %t:%T /proc/keys")
    mounts = document["mounts"]
    assert isinstance(mounts, list)
    document["mounts"] = [mount for mount in mounts if "/dev" not in str(mount)]
    (bundle / "rootfs/dev").mkdir()
    (bundle / "rootfs/dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    with pytest.raises(ForbiddenError, match="/dev/null in the image is not the device"):
        run(document)


@pytest.mark.parametrize(
    ("mount", "failure", "text"),
    [
        (("/x", "/no/such"), NotFoundError, "bind source path does not exist: /no/such"),
        (("/etc", "/etc/passwd"), InvalidParameterError, "cannot mount a file on /etc"),
        (("/etc/passwd", "/tmp"), InvalidParameterError, "cannot mount a directory on"),
        (("/etc/passwd/x", "/tmp"), NotFoundError, "/etc/passwd/x"),
        (("/x", "tmpfs", "size=lots"), InvalidParameterError, "Bad value for 'size'"),
    ],
)
def test_impossible_mounts_leave_nothing(
    run: Run, shell_spec: Spec, mount: tuple[str, ...], failure: type[KedgeError], text: str
) -> None:
    document = shell_spec("true")
    add_mount(document, mount[0], mount[1], *mount[2:])
    with pytest.raises(failure, match=text):
        run(document)


def test_every_user_id_is_mapped_in_a_user_namespace(
    run: Run, bundle: Path, shell_spec: Spec
) -> None:
    for directory, _names, files in os.walk(bundle / "rootfs"):
        for path in (directory, *(os.path.join(directory, name) for name in files)):
            os.chown(path, 100000, 100000, follow_symlinks=False)
    document = shell_spec("id -u; cat /proc/self/uid_map; echo $$; touch /made; echo x >/dev/null")
    linux = document["linux"]
    assert isinstance(linux, dict)
    mapping: JsonObject = {"containerID": 0, "hostID": 100000, "size": 65536}
    linux["uidMappings"] = linux["gidMappings"] = [mapping]
    namespaces = linux["namespaces"]
    assert isinstance(namespaces, list)
    namespaces.append({"type": "user"})
    result = run(document)
    assert result.output.split() == ["0", "0", "100000", "65536", "1"]
    assert (bundle / "rootfs/made").stat().st_uid == 100000


def test_an_idmapped_bind(run: Run, shell_spec: Spec, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").touch()
    document = shell_spec("stat -c %u:%g /data/file")
    mapping: JsonObject = {"containerID": 0, "hostID": 5555, "size": 10}
    mounts = document["mounts"]
    assert isinstance(mounts, list)
    mounts.append(
        {
            "destination": "/data",
            "type": "bind",
            "source": str(data),
            "options": ["bind", "idmap"],
            "uidMappings": [mapping],
            "gidMappings": [mapping],
        }
    )
    assert run(document).output == "5555:5555\n"
