"""The container's `/dev`: device nodes, the usual symlinks, the console.

Nodes are made with `mknod`; where that is refused (a user namespace, no CAP_MKNOD) the host's node
is bound instead, which needs the host to have it at the same path.
"""

from __future__ import annotations

import os
import stat

from kedge.errdefs import ForbiddenError
from kedge.lib.blocks import suppress
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import mount as lm
from kedge.oci.runtime_spec.types import Device
from kedge.runtime.failures import refusal
from kedge.runtime.filesystems import clone_fd, clone_mount

if TYPE_CHECKING:
    from typing import Final

    from kedge.runtime.rootpath import RootPath


DEFAULT_DEVICES: Final = (
    Device("c", "/dev/null", 1, 3),
    Device("c", "/dev/zero", 1, 5),
    Device("c", "/dev/full", 1, 7),
    Device("c", "/dev/random", 1, 8),
    Device("c", "/dev/urandom", 1, 9),
    Device("c", "/dev/tty", 5, 0),
)
"""What the runtime specification has every container find (config-linux.md, "Default Devices")."""

_SYMLINKS: Final = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
_TYPES: Final = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def all_devices(devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """Return the default devices with those of the spec, which win where the path is the same."""
    found = {device.path: device for device in DEFAULT_DEVICES}
    found.update((device.path, device) for device in devices)
    return tuple(found.values())


def make_devices(root: RootPath, devices: tuple[Device, ...], *, bind: bool) -> None:
    """Make every device node; ``bind`` binds the host's nodes without trying `mknod`."""
    directories: dict[str, int] = {}
    old_umask = os.umask(0)
    try:
        for device in devices:
            parent, name = os.path.split(device.path)
            if parent not in directories:
                directories[parent] = root.ensure_directory(parent)
            if bind or not _make_node(directories[parent], name, device):
                _bind_node(root, device)
    finally:
        os.umask(old_umask)
        for fd in directories.values():
            os.close(fd)


def _make_node(directory: int, name: str, device: Device) -> bool:
    mode = _TYPES[device.type] | (0o666 if device.file_mode is None else device.file_mode)
    number = os.makedev(device.major, device.minor)
    try:
        os.mknod(name, mode, number, dir_fd=directory)
    except FileExistsError:
        _check_existing(directory, name, device)
        return True
    except PermissionError:
        return False
    except OSError as error:
        raise refusal(f"cannot make the device {device.path}", error) from error
    if device.uid or device.gid:
        os.chown(name, device.uid, device.gid, dir_fd=directory, follow_symlinks=False)
    return True


def _check_existing(directory: int, name: str, device: Device) -> None:
    """Accept what the image already has at a device's path only if it is that device."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if device.type == "p":
        same = stat.S_ISFIFO(found.st_mode)
    else:
        same = stat.S_IFMT(found.st_mode) == _TYPES[device.type] and (
            found.st_rdev == os.makedev(device.major, device.minor)
        )
    if not same:
        raise ForbiddenError(f"{device.path} in the image is not the device that belongs there")


def _bind_node(root: RootPath, device: Device) -> None:
    target = root.ensure_file(device.path)
    try:
        source = clone_mount(device.path, recursive=False)
        lm.move_mount(source, target)
        os.close(source)
    except OSError as error:
        raise refusal(f"cannot bind the host's device {device.path}", error) from error
    finally:
        os.close(target)


def open_null(root: RootPath) -> int:
    """Return an ``O_PATH`` descriptor of a null device that is one, the container's or the host's.

    The container's is better to bind over other files: it lies on a small tmpfs of its own.
    """
    try:
        fd = root.open("/dev/null", os.O_PATH | os.O_NOFOLLOW, no_symlinks=True)
    except OSError:
        return os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
    found = os.fstat(fd)
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3):
        return fd
    os.close(fd)
    return os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)


def make_links(root: RootPath) -> None:
    """Make /dev/fd, stdin, stdout, stderr and ptmx, unless something is there already."""
    directory = root.ensure_directory("/dev")
    try:
        for name, target in _SYMLINKS:
            with suppress(FileExistsError):
                os.symlink(target, name, dir_fd=directory)
        # The multiplexer must be this container's devpts, not whatever the image has.
        with suppress(FileNotFoundError, IsADirectoryError):
            os.unlink("ptmx", dir_fd=directory)
        with suppress(FileExistsError):
            os.symlink("pts/ptmx", "ptmx", dir_fd=directory)
    except OSError as error:
        raise refusal("cannot make the symlinks in /dev of the container", error) from error
    finally:
        os.close(directory)


def bind_console(root: RootPath, slave: int) -> None:
    """Make the terminal ``slave`` appear as /dev/console."""
    target = root.ensure_file("/dev/console")
    try:
        source = clone_fd(slave)
        lm.move_mount(source, target)
        os.close(source)
    except OSError as error:
        raise refusal("cannot bind the terminal on /dev/console", error) from error
    finally:
        os.close(target)
