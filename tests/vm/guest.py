"""The first process of the machine: what an init does for a host, one job, and then the end.

Its cgroups are laid out as systemd does: itself in ``/init.scope``, the job in a unit's own cgroup
below ``/system.slice``, with the controllers switched on for the units.
"""

import json
import os
import subprocess
import sys
import termios
import traceback
from pathlib import Path

from kedge.lib.jsontypes import JsonObject

SERIAL = "/dev/ttyS1"
_CGROUPS = Path("/sys/fs/cgroup")
_UNIT = _CGROUPS / "system.slice/kedge-tests.service"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOUNTS = (
    ("cgroup2", str(_CGROUPS), "nsdelegate,memory_recursiveprot"),
    ("devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("mqueue", "/dev/mqueue", "rw"),
    ("tmpfs", "/run/lock", "mode=1777"),
)


def main() -> None:
    """Make the machine a host, do the job, say how it ended, and switch off."""
    serial = os.open(SERIAL, os.O_RDWR | os.O_NOCTTY)
    os.dup2(serial, 1)
    os.dup2(serial, 2)
    with open("/run/kedge-vm.json") as file:
        job: JsonObject = json.load(file)
    status = -1
    try:
        _make_host(str(job["modules"]))
        sys.stdout.write(f"controllers: {(_CGROUPS / 'cgroup.controllers').read_text()}")
        sys.stdout.flush()
        status = _do(job)
    except Exception:  # noqa: BLE001 - there is nobody above the first process
        traceback.print_exc()
    sys.stdout.write(f"kedge-vm: exit status {status}\n")
    sys.stdout.flush()
    termios.tcdrain(1)
    if not job["power_cut"]:
        os.sync()
        os.execv("/bin/busybox", ["busybox", "poweroff", "-f"])
    # At once: nothing is written back, no file system is unmounted, no process is told.
    Path("/proc/sysrq-trigger").write_text("o")


def _make_host(modules: str) -> None:
    for kind, point, options in _MOUNTS:
        os.makedirs(point, exist_ok=True)
        subprocess.run(["mount", "-t", kind, "-o", options, kind, point], check=True)
    os.makedirs("/lib/modules", exist_ok=True)
    release = os.uname().release
    if not os.path.exists(f"/lib/modules/{release}"):
        os.symlink(modules, f"/lib/modules/{release}")
    # The devices that tests open or close; udev would have loaded them.
    subprocess.run(["modprobe", "-a", "loop", "fuse", "tun"], check=True)
    for link, goal in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1")):
        if not os.path.lexists(f"/dev/{link}"):
            os.symlink(goal, f"/dev/{link}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/proc/sys/kernel/hostname").write_text("kedge-vm")
    (_CGROUPS / "init.scope").mkdir()
    (_CGROUPS / "init.scope/cgroup.procs").write_text("0")
    controllers = (_CGROUPS / "cgroup.controllers").read_text().split()
    _UNIT.mkdir(parents=True)
    for folder in (_CGROUPS, _UNIT.parent):
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def _do(job: JsonObject) -> int:
    """Run the job's words, and collect whoever is left an orphan until they end."""
    words = [str(word) for word in job["words"]]  # type: ignore[union-attr]
    environment = {
        "PATH": f"{os.path.dirname(sys.executable)}:{_PATH}",
        "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb", "KEDGE_TEST_PATIENCE": "30",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    child = os.fork()  # noqa: TID251 - the first process of a machine
    if child == 0:
        (_UNIT / "cgroup.procs").write_text("0")
        os.setsid()
        os.chdir(str(job["folder"]))
        os.execvpe(words[0], words, environment)
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()
