"""Putting a container's device program onto its cgroup v2 directory, and replacing it."""

from __future__ import annotations

import errno
import os

from kedge.errdefs import ForbiddenError, NotSupportedError, SystemFailureError
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import bpf
from kedge.runtime.cgroups.device_program import build_program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from kedge.oci.runtime_spec_resources import DeviceRule


_REFUSED: Final = frozenset({errno.EPERM, errno.EACCES})


def install(directory: str, rules: Sequence[DeviceRule]) -> None:
    """Make ``rules`` the only device program of ``directory`` itself.

    The new program is there before the old one goes, so that no moment is without any. All
    programs of a directory and those above must allow an access.

    Raises:
        NotSupportedError: The kernel is built without cgroup programs.
        ForbiddenError: This process may not load programs (CAP_BPF, CAP_SYS_ADMIN).
    """
    try:
        _install(directory, build_program(rules))
    except OSError as error:
        if error.errno in _REFUSED:
            raise ForbiddenError(f"not allowed to restrict the devices of {directory}") from error
        if error.errno in {errno.ENOSYS, errno.EINVAL}:
            raise NotSupportedError(
                f"this kernel cannot restrict the devices of {directory} (CONFIG_CGROUP_BPF)"
            ) from error
        raise SystemFailureError(
            f"cannot restrict the devices of {directory}: {error.strerror}"
        ) from error


def _install(directory: str, program: bytes) -> None:
    cgroup_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    program_fd = -1
    old_fds: list[int] = []
    try:
        program_fd = bpf.load_cgroup_device_program(program)
        old_fds.extend(bpf.open_program(number) for number in bpf.query_cgroup_device(cgroup_fd))
        bpf.attach_cgroup_device(
            cgroup_fd, program_fd, replace_fd=old_fds[0] if len(old_fds) == 1 else -1
        )
        if len(old_fds) > 1:
            for old_fd in old_fds:
                bpf.detach_cgroup_device(cgroup_fd, old_fd)
    finally:
        for descriptor in (cgroup_fd, program_fd, *old_fds):
            if descriptor >= 0:
                os.close(descriptor)
