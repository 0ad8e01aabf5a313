"""The OCI runtime: rootfs, namespaces, cgroups, capabilities, seccomp; `kedge-runtime`."""
