"""A machine of qemu's software emulation: the host's tree read-only, a disk, two consoles."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.vm.kernel import Kernel, initramfs

MEMORY = "3G"
_DAEMONS = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")
# A clock that is found to be unstable is told by patching code that another processor may be
# running, and there an emulated one has been seen to fail.
_PARAMETERS = (
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check rdinit=/init"
)
_FINISHED = "kedge-vm: exit status "


class Job(NamedTuple):
    """Words to run in a folder; whether the machine then loses its power or is switched off."""

    words: tuple[str, ...]
    folder: Path
    power_cut: bool = False


class Outcome(NamedTuple):
    """How a job ended: its exit status (-1 if the machine went down before), what it printed."""

    status: int
    output: str
    up_s: float
    took_s: float


def make_disk(path: Path, size: str = "8G") -> None:
    """Make an empty ext4 file system in a sparse file."""
    with path.open("wb"):
        pass
    subprocess.run(["truncate", "-s", size, str(path)], check=True)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(path)], check=True)


@contextmanager
def _shared_tree(work: Path) -> Generator[Path]:
    """The host's tree at a socket, until the machine has gone."""
    program = next((name for name in _DAEMONS if Path(name).exists()), None)
    if program is None:
        sys.exit("kedge: test-vm: no virtiofsd on this host: run  scripts/test-vm  as root")
    socket = work / "fs.sock"
    socket.unlink(missing_ok=True)
    words = [program, f"--socket-path={socket}", "-o", "source=/"]
    words += ["-o", "cache=auto", "-o", "sandbox=chroot"]
    with (work / "virtiofsd.log").open("wb") as log:
        daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while not socket.exists():
            if daemon.poll() is not None:
                sys.exit(f"kedge: test-vm: virtiofsd ended: {(work / 'virtiofsd.log').read_text()}")
            time.sleep(0.01)
        yield socket
    finally:
        daemon.terminate()
        daemon.wait()


def _command(kernel: Kernel, work: Path, disk: Path, socket: Path) -> list[str]:
    return [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-machine", "q35",
        "-smp", "2", "-m", MEMORY,
        "-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on",
        "-numa", "node,memdev=memory",
        "-kernel", str(kernel.image), "-initrd", str(work / "initramfs"),
        "-append", _PARAMETERS,
        "-serial", f"file:{work / 'console.log'}", "-serial", "stdio",
        "-chardev", f"socket,id=tree,path={socket}",
        "-device", "vhost-user-fs-pci,chardev=tree,tag=host",
        "-drive", f"file={disk},if=none,id=disk,format=raw,cache=unsafe,discard=unmap",
        "-device", "virtio-blk-pci,drive=disk",
    ]  # fmt: skip


def run_in_machine(
    kernel: Kernel,
    job: Job,
    work: Path,
    *,
    disk: Path,
    within_s: float,
    show: Callable[[str], object],
) -> Outcome:
    """Boot ``kernel``, do ``job`` and return how it ended.

    Args:
        kernel: What to boot.
        job: What to do then.
        work: Where sockets and the log of the kernel's console go.
        disk: A file with an ext4 file system; ``/tmp`` of the machine lies on it.
        within_s: After which time the machine is switched off.
        show: Is given each line as it comes.
    """
    busybox = shutil.which("busybox")
    assert busybox is not None, "busybox-static is not installed"
    document = {"words": job.words, "folder": str(job.folder), "power_cut": job.power_cut,
                "modules": str(kernel.modules)}  # fmt: skip
    command = f"{sys.executable} {Path(__file__).with_name('guest.py')}"
    archive = initramfs(kernel, Path(busybox), command, json.dumps(document))
    (work / "initramfs").write_bytes(archive)
    begun = time.monotonic()
    with _shared_tree(work) as socket:
        machine = subprocess.Popen(
            _command(kernel, work, disk, socket), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        watch = threading.Timer(within_s, machine.kill)
        watch.start()
        lines: list[str] = []
        try:
            assert machine.stdout is not None
            for line in machine.stdout:
                lines.append(line.rstrip("\r\n"))
                show(lines[-1])
            machine.wait()
        finally:
            watch.cancel()
            machine.kill()
            machine.wait()
    took_s = time.monotonic() - begun
    status = -1
    if lines and lines[-1].startswith(_FINISHED):
        status = int(lines.pop().removeprefix(_FINISHED))
    console = (work / "console.log").read_text(errors="replace")
    if status == -1:
        lines += ["the machine went down before the job was done; its console's last lines:"]
        lines += console.splitlines()[-30:]
    up = [line.split()[-2] for line in console.splitlines() if "user space after" in line]
    return Outcome(status, "\n".join(lines), float(up[0]) if up else 0.0, took_s)
