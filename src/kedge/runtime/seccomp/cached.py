"""Compiled programs, kept in memory and, where a directory is given, on disk.

A warm spawner compiles each profile once; a cold ``kedge-runtime`` finds what an earlier one left.
A file is named by everything that decides its content and begins with a digest of the rest, so a
file that was cut short is compiled again instead of being refused by the kernel for ever.
"""

from __future__ import annotations

import hashlib
import os

from kedge.lib.atomicfile import write_atomic
from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.runtime_spec_seccomp import Seccomp, parse_seccomp
from kedge.runtime.seccomp.architectures import Architecture, native_architecture
from kedge.runtime.seccomp.compiler import compile_program
from kedge.runtime.seccomp.default_profile import default_seccomp, relevant_capabilities

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final


# Raised when the compiler gives other bytes for the same profile: old files must not be found.
_COMPILER: Final = 1
_DIGEST_LENGTH: Final = 32
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
        cache_dir: An existing directory only root can write to; empty for none.

    Raises:
        InvalidParameterError: The profile cannot be expressed.
        NotSupportedError: kedge does not know this machine's system calls.
    """
    machine = native or native_architecture()
    key = (profile, machine.name)
    program = _programs.get(key)
    if program is None:
        program = _load(profile, machine, cache_dir)
        if len(_programs) >= _KEEP_PROGRAMS:
            del _programs[next(iter(_programs))]
        _programs[key] = program
    return program


def default_program(capabilities: Iterable[str], *, cache_dir: str = "") -> bytes:
    """Return the default profile's program for a container with this bounding set."""
    relevant = relevant_capabilities(capabilities)
    program = _defaults.get(relevant)
    if program is None:
        profile = parse_seccomp(default_seccomp(sorted(relevant)))
        program = compile_profile(profile, cache_dir=cache_dir)
        _defaults[relevant] = program
    return program


def _load(profile: Seccomp, machine: Architecture, cache_dir: str) -> bytes:
    if not cache_dir:
        return compile_program(profile, machine)
    text = repr((_COMPILER, machine.name, profile))
    path = f"{cache_dir}/{hashlib.sha256(text.encode()).hexdigest()}.bpf"
    program = _read(path)
    if program is None:
        program = compile_program(profile, machine)
        _store(path, program)
    return program


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read()
    digest, program = content[:_DIGEST_LENGTH], content[_DIGEST_LENGTH:]
    return program if hashlib.sha256(program).digest() == digest else None


def _store(path: str, program: bytes) -> None:
    content = hashlib.sha256(program).digest() + program
    try:
        write_atomic(path, content, mode=0o600, durable=False)
    except OSError:
        # The cache is full, read-only or gone; the program is as good without it.
        return
