"""Seccomp: from ``linux.seccomp`` to the program the kernel runs before every system call.

A compiler of our own, so that a start needs no library and loads bytes that were made once
(`cached`). The default profile, Docker's, is in `default_profile`. Loading is
`kedge.linux.seccomp.set_filter`. This package imports none of them: a start needs few.
"""
