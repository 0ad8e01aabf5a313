"""A kernel as ``scripts/test-vm-kernel`` unpacked it, and its first file system."""

import gzip
import lzma
from pathlib import Path
from typing import NamedTuple

# What stands between a bare kernel and the host's tree with a writable layer on it.
NEEDED = ("virtio_pci", "virtio_blk", "virtiofs", "overlay")
_FOLDERS = ("bin", "dev", "disk", "host", "modules", "new", "proc", "rw", "sys")

# The host's tree is shared read-only; what a test writes lies in memory, what it writes below /tmp
# on the disk.
INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
read -r up rest < /proc/uptime
echo "kedge-vm: user space after $up s"
for module in $($b cat /modules/order); do $b insmod /modules/$module || exec $b poweroff -f; done
$b mount -t virtiofs -o ro host /host || exec $b poweroff -f
$b mount -t ext4 /dev/vda /disk || exec $b poweroff -f
$b mount -t tmpfs -o mode=755 rw /rw && $b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work overlay /new
$b mkdir -p /disk/tmp && $b chmod 1777 /disk/tmp
$b mount -o bind /disk/tmp /new/tmp
$b mkdir -p /new/run /new/proc /new/sys /new/dev
$b mount -t tmpfs -o mode=755 run /new/run
for each in proc sys dev; do $b mount -o move /$each /new/$each; done
$b cp /job.json /new/run/kedge-vm.json
cd /new && exec $b switch_root /new @COMMAND@
"""


class Kernel(NamedTuple):
    """One unpacked kernel."""

    folder: Path
    release: str

    @property
    def image(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def modules(self) -> Path:
        """Where ``modprobe`` finds this kernel's modules."""
        return self.folder / "lib/modules" / self.release


def load_kernel(folder: Path) -> Kernel:
    """Return the kernel in ``folder``."""
    return Kernel(folder, (folder / "release").read_text().strip())


def in_order(dependencies: str, names: tuple[str, ...]) -> list[str]:
    """Return the files of the modules ``names`` in the order to load them.

    Args:
        dependencies: The text of ``modules.dep``: the last of a line is to be loaded first.
        names: Modules; what is not mentioned is built in.
    """
    order: list[str] = []
    lines = [line.split(":") for line in dependencies.splitlines()]
    for name in names:
        for path, others in lines:
            if Path(path).name.split(".")[0] == name:
                order += [*reversed(others.split()), path]
    return list(dict.fromkeys(order))


def initramfs(kernel: Kernel, busybox: Path, command: str, job: str) -> bytes:
    """Return the archive that brings ``kernel`` to the host's tree and runs ``command`` there."""
    files = {
        "init": (0o755, INIT.replace("@COMMAND@", command).encode()),
        "bin/busybox": (0o755, busybox.read_bytes()),
        "job.json": (0o644, job.encode()),
    }
    modules = in_order((kernel.modules / "modules.dep").read_text(), NEEDED)
    names: list[str] = []
    for module in modules:
        path = kernel.modules / module
        data = path.read_bytes()
        names.append(path.name.removesuffix(".xz"))
        files[f"modules/{names[-1]}"] = (
            0o644,
            lzma.decompress(data) if path.suffix == ".xz" else data,
        )
    files["modules/order"] = (0o644, "\n".join(names).encode())
    archive = b"".join(_member(folder, 0o40755, b"") for folder in _FOLDERS)
    archive += b"".join(
        _member(name, 0o100000 | mode, data) for name, (mode, data) in files.items()
    )
    return gzip.compress(archive + _member("TRAILER!!!", 0, b""), 1)


def _member(name: str, mode: int, data: bytes) -> bytes:
    """Return one entry of a ``newc`` archive (the kernel's ``initramfs-buffer-format.rst``)."""
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + "".join(f"{value:08x}" for value in fields).encode()
    head = header + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
