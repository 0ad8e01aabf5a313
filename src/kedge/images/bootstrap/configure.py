"""Packages set up by their own scripts, inside a container of the file system being made.

The order is debootstrap's. Essential packages are already unpacked, unregistered, so that dpkg and
the tools of maintainer scripts are there; then dpkg installs everything properly over that: first
the accounts, because other packages own files by name, then it unpacks all, then it configures all
in the order of their dependencies. Packages are mounted below /dev, which is a fresh tmpfs, so
nothing of that stays in the image.
"""

import glob
import os
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final

from kedge.errdefs import SystemFailureError
from kedge.images.bootstrap.download import BootstrapCancelledError
from kedge.images.bootstrap.ports import Step, StepRunner
from kedge.images.layering import OpenLayer, remove_mountpoints
from kedge.lib.ids import new_id
from kedge.oci.mounts import Mount

PACKAGES: Final = "/dev/kedge-packages"
_SHOWN_LINES: Final = 3
_OPTIONS: Final = ("bind", "ro", "nosuid", "nodev")

# Compiles what is removed again: the time of compiling would be part of the image.
_COMPILERS: Final = ("usr/bin/py3compile", "usr/lib/python3.*/py_compile.py")
# Does nothing, in both languages.
_IDLE_SCRIPT: Final = "#!/bin/sh\n"

_UNPACK: Final = f"""\
set -e
cd {PACKAGES}
dpkg --force-depends --install base-passwd_*.deb base-files_*.deb
set -- *.deb
dpkg --force-depends --skip-same-version --unpack "$@"
"""
_CONFIGURE: Final = """\
set -e
dpkg --configure --pending
dpkg --audit
"""


class Container:
    """Runs commands over one layer."""

    def __init__(
        self,
        runner: StepRunner,
        layer: OpenLayer,
        cancel: threading.Event,
        *,
        path: str,
        epoch_s: int,
    ) -> None:
        """Run with ``path`` as PATH and ``epoch_s`` for programs that write down a date."""
        self._runner = runner
        self._layer = layer
        self._cancel = cancel
        self._env = (
            path,
            "HOME=/root",
            "LC_ALL=C",
            "TZ=UTC",
            "DEBIAN_FRONTEND=noninteractive",
            "DEBCONF_NONINTERACTIVE_SEEN=true",
            "DPKG_COLORS=never",
            f"SOURCE_DATE_EPOCH={epoch_s}",
        )

    def install(self, packages: str) -> None:
        """Install the ``.deb`` files of a directory of the host, which are all the image gets.

        Raises:
            SystemFailureError: A package's script failed; the text ends with what it said.
        """
        mount = Mount("bind", packages, _OPTIONS, PACKAGES)
        self.run(("/bin/sh", "-c", _UNPACK), what="unpacking packages", mounts=(mount,))
        idle = os.path.join(packages, "idle")
        with open(idle, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o755)
            file.write(_IDLE_SCRIPT)
        root = self._layer.upper
        hidden = [
            Mount("bind", idle, _OPTIONS, path.removeprefix(root))
            for pattern in _COMPILERS
            for path in glob.glob(f"{glob.escape(root)}/{pattern}")
        ]
        self.run(("/bin/sh", "-c", _CONFIGURE), what="configuring packages", mounts=hidden)

    def run(self, args: Sequence[str], *, what: str, mounts: Sequence[Mount] = ()) -> None:
        """Run a command.

        Raises:
            SystemFailureError: It failed.
            BootstrapCancelledError: Nobody waits any more.
        """
        output = _Tail()
        step = Step(
            container_id=new_id(),
            rootfs=self._layer.mounts,
            args=tuple(args),
            env=self._env,
            mounts=tuple(mounts),
        )
        end = self._runner.run(step, output.take, self._cancel)
        if self._cancel.is_set():
            raise BootstrapCancelledError("bootstrap cancelled")
        if end.exit_code:
            raise SystemFailureError(
                f"{what} failed with status {end.exit_code}: {output.last_lines()}"
            )
        remove_mountpoints(self._layer, end.created_mountpoints)


class _Tail:
    """The end of what a command prints."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=_SHOWN_LINES)
        self._open = b""

    def take(self, data: bytes) -> None:
        *lines, self._open = (self._open + data).split(b"\n")
        self._lines.extend(line for line in lines if line.strip())

    def last_lines(self) -> str:
        lines = [*self._lines, *([self._open] if self._open.strip() else [])]
        return "; ".join(line.decode(errors="replace").strip() for line in lines[-_SHOWN_LINES:])
