"""System calls, ioctls, netlink and bpf: wrappers that raise `OSError`, and no policy."""
