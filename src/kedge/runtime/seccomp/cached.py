"""Compiled programs, kept in memory and, where a directory is given, on disk.

A warm spawner compiles each profile once; a cold ``kedge-runtime`` finds what an earlier one left
(`kedge.runtime.seccomp.kept`), and then needs no compiler at all.
"""

from __future__ import annotations

import os

from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.seccomp import kept

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from kedge.oci.runtime_spec_seccomp import Seccomp
    from kedge.runtime.seccomp.architectures import Architecture


# Raised when the compiler gives other bytes for the same profile: old files must not be found.
_COMPILER: Final = 1
_KEEP_PROGRAMS: Final = 64

_programs: dict[tuple[Seccomp, str], bytes] = {}
_defaults: dict[frozenset[str], bytes] = {}


def compile_profile(
    profile: Seccomp, *, native: Architecture | None = None, cache_dir: str = ""
) -> bytes:
    """Return the ``struct sock_filter`` array that enforces ``profile``.

    Args:
        profile: The parsed ``linux.seccomp``.
        native: The machine's architecture; asked of the kernel when left out.
        cache_dir: Where programs are kept on disk; empty for nowhere.

    Raises:
        InvalidParameterError: The profile cannot be expressed.
        NotSupportedError: kedge does not know this machine's system calls.
    """
    key = (profile, os.uname().machine if native is None else native.name)
    program = _programs.get(key)
    if program is None:
        program = _load(profile, native, key, cache_dir)
        if len(_programs) >= _KEEP_PROGRAMS:
            del _programs[next(iter(_programs))]
        _programs[key] = program
    return program


def default_program(capabilities: Iterable[str], *, cache_dir: str = "") -> bytes:
    """Return the default profile's program for a container with this bounding set."""
    from kedge.oci.runtime_spec_seccomp import parse_seccomp  # noqa: PLC0415 - for a spawner only
    from kedge.runtime.seccomp.default_profile import (  # noqa: PLC0415 - likewise
        default_seccomp,
        relevant_capabilities,
    )

    relevant = relevant_capabilities(capabilities)
    program = _defaults.get(relevant)
    if program is None:
        profile = parse_seccomp(default_seccomp(sorted(relevant)))
        program = compile_profile(profile, cache_dir=cache_dir)
        _defaults[relevant] = program
    return program


def _load(
    profile: Seccomp, native: Architecture | None, key: tuple[Seccomp, str], cache_dir: str
) -> bytes:
    text = repr((_COMPILER, key)) if cache_dir else ""
    program = kept.try_find(cache_dir, text) if cache_dir else None
    if program is None:
        program = _compile(profile, native)
        if cache_dir:
            kept.keep(cache_dir, text, program)
    return program


def _compile(profile: Seccomp, native: Architecture | None) -> bytes:
    from kedge.runtime.seccomp.architectures import (  # noqa: PLC0415 - 5 ms, hardly ever needed
        native_architecture,
    )
    from kedge.runtime.seccomp.compiler import compile_program  # noqa: PLC0415 - likewise

    return compile_program(profile, native or native_architecture())
