"""The same bundles under runc, crun and kedge-runtime: what a process sees inside is the same.

Each runtime runs in a mount namespace without the v2 tree of a hybrid host, which crun cannot have.
What differs on purpose is in `KNOWN`, with the reason; everything else must be equal.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci.confinement import MASKED_PATHS
from kedge.runtime.spec_template import spec_document
from tests.integration.runtime_container.conftest import DOCKER_CAPABILITIES
from tests.interop.oci_runtimes.conftest import PROGRAMS

pytestmark = pytest.mark.interop

APART: Final = (
    *("unshare", "--mount", "--propagation", "slave", "sh", "-c"),
    *('umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh"),
)
OURS: Final = [str(Path(sys.executable).parent / "kedge-runtime")]
PASSWD: Final = "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/h:/bin/sh\n"
APPLETS: Final = """
cat chmod echo env find grep hostname id ls mkdir mount pwd readlink sed sh sort stat touch
unshare wc
"""
SCRIPT: Final = r"""
section() { echo "== $1"; }
section status
grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Cpus_allowed_list):' /proc/self/status
section limits; cat /proc/self/limits
section oom; cat /proc/self/oom_score_adj
section environment; env | sort
section place; hostname; pwd; umask; id; cat /proc/sys/kernel/domainname
section mounts; cat /proc/self/mountinfo
section devices
find /dev ! -path '/dev/pts/*' ! -path '/dev/shm/*' -exec stat -c '%n %F %t:%T %a %u:%g' {} + | sort
section links; for n in fd stdin stdout stderr ptmx; do readlink /dev/$n || echo none; done
section namespaces
for n in cgroup ipc mnt net pid user uts time; do echo $n $(readlink /proc/self/ns/$n); done
section cgroup; cat /proc/self/cgroup | sed 's/^[0-9]*://' | sort
section controllers
for f in memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes cpu/cpu.shares \
    cpu/cpu.cfs_quota_us pids/pids.max devices/devices.list cpuset/cpuset.cpus; do
  echo $f $(cat /sys/fs/cgroup/$f 2>&1 | sort)
done
section sysctls
cd /proc/sys; cat net/ipv4/ip_forward kernel/msgmax net/ipv4/ping_group_range; cd - >/dev/null
section masked
for f in /proc/kcore /proc/keys /proc/timer_list; do wc -c $f; done
ls /proc/scsi /proc/acpi /sys/firmware 2>&1 | sort
section readonly
for f in /proc/sys/kernel/domainname /proc/bus /proc/irq; do
  [ -w $f ] && echo writable $f || echo fixed $f
done
section calls
unshare -U true 2>&1 || echo refused
mkdir /tmp/d 2>&1; mount -t tmpfs x /tmp 2>&1 || echo refused
section loopback; cat /proc/net/dev | grep -c lo
section descriptors; for n in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$n ] && echo $n; done
"""


def update(document: JsonObject, path: str, value: Json) -> None:
    """Set a field of the document, by its path."""
    *parents, last = path.split(".")
    place = document
    for name in parents:
        inner = place.setdefault(name, {})
        assert isinstance(inner, dict)
        place = inner
    place[last] = value


def plain(_document: JsonObject) -> None:
    pass


def docker_like(document: JsonObject) -> None:
    names: Json = [*DOCKER_CAPABILITIES]
    for kind in ("bounding", "effective", "permitted"):
        update(document, f"process.capabilities.{kind}", names)
    update(document, "process.noNewPrivileges", value=False)
    update(document, "root.readonly", value=False)
    update(document, "process.oomScoreAdj", 300)
    update(document, "linux.sysctl", {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"})
    update(document, "linux.resources.memory", {"limit": 67108864, "reservation": 33554432})
    update(document, "linux.resources.cpu", {"shares": 512, "quota": 50000, "period": 100000})
    update(document, "linux.resources.pids", {"limit": 99})


def another_user(document: JsonObject) -> None:
    user: JsonObject = {"uid": 1000, "gid": 1000, "additionalGids": [5, 6], "umask": 0o27}
    update(document, "process.user", user)
    names: Json = ["CAP_NET_BIND_SERVICE", "CAP_KILL"]
    kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
    update(document, "process.capabilities", dict.fromkeys(kinds, names))
    update(document, "process.cwd", "/etc")
    limits: Json = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NPROC", "soft": 512, "hard": 512},
    ]
    update(document, "process.rlimits", limits)


def filtered(document: JsonObject) -> None:
    docker_like(document)
    rules: Json = [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
        {"names": ["unshare"], "action": "SCMP_ACT_ERRNO"},
    ]
    update(document, "linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
    update(document, "process.noNewPrivileges", value=True)


def own_mounts(document: JsonObject) -> None:
    mounts = document["mounts"]
    assert isinstance(mounts, list)
    binds: list[tuple[str, list[Json]]] = [
        ("/bound", ["rbind", "ro", "nosuid", "nodev"]),
        ("/made/deep", ["bind", "noexec", "rprivate"]),
    ]
    mounts += [
        {"destination": place, "type": "bind", "source": "shown", "options": options}
        for place, options in binds
    ]
    options: list[Json] = ["nosuid", "noexec", "size=4k", "mode=1700"]
    mounts.append({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": options})
    device: JsonObject = {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229}
    device |= {"fileMode": 0o640, "uid": 7, "gid": 8}
    update(document, "linux.devices", [device])
    rules: Json = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
    ]
    update(document, "linux.resources.devices", rules)
    update(document, "linux.rootfsPropagation", "private")


def mapped_ids(document: JsonObject) -> None:
    namespaces = document["linux"]
    assert isinstance(namespaces, dict)
    kinds = namespaces["namespaces"]
    assert isinstance(kinds, list)
    kinds.append({"type": "user"})
    mapping: Json = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    update(document, "linux.uidMappings", mapping)
    update(document, "linux.gidMappings", mapping)


KNOWN: Final = (
    # Each masks with something else. Section "masked" tells whether anything can be read.
    ("mounts", rf"({'|'.join(MASKED_PATHS)}) .*"),
    # The bundle wants it read-only, and only kedge makes it so.
    ("mounts", r"/sys/fs/cgroup r[ow],.* tmpfs .*"),
    # The two move every container into systemd's own tree, kedge only where systemd runs.
    ("mounts", r"/sys/fs/cgroup/systemd .*"),
    ("cgroup", r"name=systemd:.*"),
    # crun alone has it; the specification does not name it.
    ("devices", r"/dev/core .*"),
    # crun gives it to the user, who may write to it anyway.
    ("devices", r"/dev/null .*"),
    # Nodes of the host, bound for a user namespace: crun binds them nosuid and noexec.
    ("mounts", r"/dev/(full|null|random|tty|urandom|zero) .* devtmpfs .*"),
    # Of a group that the user namespace has no name for, under runc.
    ("devices", r"/dev/mqueue .*"),
)
# Debian's runc and crun let containers use tun devices, which runc does not since 1.2; and crun
# lets them use the host's console.
MORE_DEVICES: Final = re.compile(r" c (10:200|5:1) rwm")


CASES: Final = (plain, docker_like, another_user, filtered, own_mounts, mapped_ids)


@pytest.fixture(scope="module")
def bundle() -> Iterator[Path]:
    busybox = shutil.which("busybox")
    if busybox is None or os.getuid() != 0:
        pytest.skip("needs root and busybox")
    # Not below pytest's folder: ids of a user namespace must be able to come in.
    with tempfile.TemporaryDirectory(prefix="kedge-diff-") as text:
        made = Path(text)
        made.parent.chmod(made.parent.stat().st_mode | 0o011)
        binaries = made / "rootfs/bin"
        binaries.mkdir(parents=True)
        shutil.copy2(busybox, binaries / "busybox")
        for applet in APPLETS.split():
            (binaries / applet).symlink_to("busybox")
        for name in ("etc", "tmp", "proc", "sys", "dev"):
            (made / "rootfs" / name).mkdir()
        (made / "shown").mkdir()
        (made / "rootfs/etc/passwd").write_text(PASSWD)
        for each in (made, made / "rootfs", made / "rootfs/tmp"):
            each.chmod(0o777)
        yield made


def see(
    bundle: Path, words: list[str], change: Callable[[JsonObject], None]
) -> dict[str, list[str]]:
    """Return what the script prints under a runtime, by section."""
    name = f"kedge-diff-{uuid.uuid4().hex[:10]}"
    document = spec_document()
    document["ociVersion"] = "1.0.0"
    update(document, "process.terminal", value=False)
    update(document, "process.args", ["sh", "-c", SCRIPT])
    update(document, "linux.cgroupsPath", f"/{name}")
    change(document)
    (bundle / "config.json").write_text(json.dumps(document))
    state = bundle / "state"
    done = subprocess.run(
        [*APART, *words, "--root", str(state), "run", "-b", str(bundle), name],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    shutil.rmtree(state, ignore_errors=True)
    for folder in ("rootfs/tmp/d", "rootfs/bound", "rootfs/made", "rootfs/t"):
        shutil.rmtree(bundle / folder, ignore_errors=True)
    assert "== descriptors" in done.stdout, done.stdout + done.stderr
    parts = (part.partition("\n") for part in done.stdout.split("== ")[1:])
    return {title: normalise(title, body) for title, _newline, body in parts}


def normalise(title: str, body: str) -> list[str]:
    """Leave out what differs from one run to the next, and `KNOWN`."""
    lines = MORE_DEVICES.sub("", body).splitlines()
    if title == "mounts":
        lines = sorted(map(mount_line, lines))
    elif title == "namespaces":
        lines = list(map(is_own, lines))
    patterns = [pattern for section, pattern in KNOWN if section == title]
    return [line for line in lines if not any(re.fullmatch(each, line) for each in patterns)]


def mount_line(line: str) -> str:
    """Return place, options, propagation, type and file system's options of a mountinfo line."""
    before, _dash, after = line.partition(" - ")
    words, (kind, _source, *options) = before.split(), after.split()
    spread = ",".join(word.partition(":")[0] for word in words[6:])
    # Shared with the host, be it its disk or, with its network, its /sys.
    foreign = kind in ("ext4", "xfs", "btrfs", "overlay", "sysfs")
    flags = [] if foreign else sorted(options[0].split(","))
    return f"{words[4]} {words[5]} {spread} {kind} {','.join(flags)}"


def is_own(line: str) -> str:
    kind, _space, inside = line.partition(" ")
    return f"{kind} {'shared' if inside == os.readlink(f'/proc/self/ns/{kind}') else 'own'}"


@pytest.mark.parametrize("change", CASES, ids=lambda case: case.__name__)
def test_a_process_sees_the_same(bundle: Path, change: Callable[[JsonObject], None]) -> None:
    others = [path for path in PROGRAMS.values() if path is not None]
    if not others:
        pytest.skip("neither runc nor crun is installed")
    ours = see(bundle, OURS, change)
    for program in others:
        assert {"runtime": program, **ours} == {
            "runtime": program,
            **see(bundle, [program], change),
        }
