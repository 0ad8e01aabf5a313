"""Seccomp: from ``linux.seccomp`` to the program the kernel runs before every system call.

A compiler of our own, so that a start needs no library and loads bytes that were made once
(`cached`). The default profile, Docker's, is in `default_profile`. Loading is
`kedge.linux.seccomp.set_filter`.
"""

from kedge.runtime.seccomp.actions import filter_flags
from kedge.runtime.seccomp.cached import compile_profile, default_program
from kedge.runtime.seccomp.default_profile import default_seccomp

__all__ = ["compile_profile", "default_program", "default_seccomp", "filter_flags"]
