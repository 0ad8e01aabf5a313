"""System calls, ioctls, netlink and bpf: wrappers that raise `OSError` with errno and path, and no policy."""
