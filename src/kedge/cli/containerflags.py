"""The flags ``run`` and ``create`` share, in the groups of their help."""

from __future__ import annotations

from kedge.cli.flags import Flag, grouped, integer, many, switch, value
from kedge.cli.options.environment import check_env, check_label
from kedge.cli.options.mounts import parse_mount
from kedge.cli.options.networks import check_network
from kedge.cli.options.ports import check_publish
from kedge.cli.options.ulimits import parse_ulimit
from kedge.cli.options.values import (
    check_device,
    check_device_limit,
    check_dns_search,
    check_gpus,
    parse_attach,
    parse_cpus,
    parse_extra_host,
    parse_health_duration,
    parse_ip,
    parse_link,
    parse_memory_swap,
    parse_restart,
    parse_size,
)
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


CONTAINER_FLAGS: Final[tuple[Flag, ...]] = (
    *grouped(
        "",
        switch("interactive", "Keep standard input open", short="i"),
        switch("tty", "Give the container a terminal", short="t"),
        switch("rm", "Remove the container when it exits"),
        value("name", "NAME", "Name of the container; made up when not given"),
        many(
            "env",
            "NAME=VALUE",
            "Set an environment variable (NAME alone copies yours)",
            short="e",
            check=check_env,
        ),
        many("env-file", "FILE", "Read environment variables from a file", complete="file"),
        many(
            "volume",
            "SOURCE:TARGET[:ro]",
            "Show a host folder or a volume in the container",
            short="v",
            complete="file",
        ),
        many(
            "publish",
            "[IP:]HOST:PORT",
            "Make a port reachable from outside",
            short="p",
            check=check_publish,
        ),
        value("workdir", "PATH", "Working directory in the container", short="w"),
        value("user", "NAME|UID[:GROUP]", "User the program runs as", short="u"),
        value("entrypoint", "PROGRAM", "Program to run instead of the image's entrypoint"),
        value(
            "restart",
            "no|always|unless-stopped|on-failure[:N]",
            "When to start the container again",
            check=parse_restart,
            complete="no|always|unless-stopped|on-failure",
        ),
        switch(
            "host-certs", "Let programs trust the certificate authorities of this host (kedge only)"
        ),
    ),
    *grouped(
        "Images",
        value(
            "pull",
            "always|missing|never",
            "When to pull the image",
            default="missing",
            complete="always|missing|never",
        ),
        value("platform", "OS/ARCH", "Platform of the image"),
        switch("quiet", "Do not show the progress of a pull", short="q"),
    ),
    *grouped(
        "Identity",
        value("hostname", "NAME", "Host name in the container", short="h"),
        value("domainname", "NAME", "Domain name in the container"),
        many("label", "NAME=VALUE", "Set a label", short="l", check=check_label),
        many("label-file", "FILE", "Read labels from a file", complete="file"),
        many("annotation", "NAME=VALUE", "Set an annotation of the OCI runtime"),
        value("cidfile", "FILE", "Write the container's id to a file", complete="file"),
        many("group-add", "GROUP", "Add the user to a group"),
    ),
    *grouped(
        "Files",
        many("mount", "type=TYPE,...", "Mount a folder, volume or tmpfs", check=parse_mount),
        many("tmpfs", "PATH[:OPTIONS]", "Mount an empty file system in memory"),
        many(
            "volumes-from",
            "CONTAINER[:ro]",
            "Use the volumes of another container",
            complete="container",
        ),
        value("volume-driver", "NAME", "Driver of volumes that are made"),
        switch("read-only", "Make the root file system read-only"),
        value("shm-size", "SIZE", "Size of /dev/shm", check=parse_size),
        many("storage-opt", "NAME=VALUE", "Option of the storage driver"),
    ),
    *grouped(
        "Network",
        many(
            "network",
            "NETWORK",
            "Network to join: bridge, host, none, container:NAME or one of yours",
            check=check_network,
            complete="bridge|host|none",
            other_name="net",
        ),
        switch("publish-all", "Publish all exposed ports at free ports", short="P"),
        many("expose", "PORT", "Note a port as exposed"),
        many("add-host", "NAME:ADDRESS", "Add a line to /etc/hosts", check=parse_extra_host),
        many("dns", "ADDRESS", "Name server", check=parse_ip),
        many("dns-search", "DOMAIN", "Search domain", check=check_dns_search),
        many("dns-option", "OPTION", "Option of the resolver", other_name="dns-opt"),
        value("ip", "ADDRESS", "IPv4 address of the container", check=parse_ip),
        value("ip6", "ADDRESS", "IPv6 address of the container", check=parse_ip),
        value("mac-address", "MAC", "Hardware address of the container"),
        many("network-alias", "NAME", "Another name on the network", other_name="net-alias"),
        many(
            "link",
            "CONTAINER[:ALIAS]",
            "Make a container known by name",
            check=parse_link,
            complete="container",
        ),
        many("link-local-ip", "ADDRESS", "Link-local address"),
    ),
    *grouped(
        "Limits",
        value("memory", "SIZE", "Limit of memory, such as 512m", short="m", check=parse_size),
        value(
            "memory-swap",
            "SIZE",
            "Limit of memory and swap; -1 is no limit",
            check=parse_memory_swap,
        ),
        value(
            "memory-reservation",
            "SIZE",
            "Memory to fall back to when it is short",
            check=parse_size,
        ),
        value("memory-swappiness", "N", "Swappiness, 0 to 100", check=integer),
        switch("oom-kill-disable", "Do not kill the container when memory runs out"),
        value(
            "oom-score-adj",
            "N",
            "How likely the kernel picks it when memory runs out",
            check=integer,
        ),
        value("cpus", "N", "Number of CPUs, such as 1.5", check=parse_cpus),
        value("cpu-shares", "N", "Share of CPU time against others", short="c", check=integer),
        value("cpu-period", "US", "Period of the CPU quota in microseconds", check=integer),
        value("cpu-quota", "US", "CPU time in a period in microseconds", check=integer),
        value("cpu-rt-period", "US", "Period of real-time CPU time", check=integer),
        value("cpu-rt-runtime", "US", "Real-time CPU time in a period", check=integer),
        value("cpuset-cpus", "LIST", "CPUs to run on, such as 0-3,5"),
        value("cpuset-mems", "LIST", "Memory nodes to use"),
        value("blkio-weight", "N", "Weight of block I/O, 10 to 1000", check=integer),
        *(
            many(name, "DEVICE:N", text, check=check_device_limit(name))
            for name, text in (
                ("blkio-weight-device", "Weight of block I/O of one device"),
                ("device-read-bps", "Limit of bytes a second read from a device"),
                ("device-read-iops", "Limit of reads a second from a device"),
                ("device-write-bps", "Limit of bytes a second written to a device"),
                ("device-write-iops", "Limit of writes a second to a device"),
            )
        ),
        value(
            "kernel-memory", "SIZE", "Limit of the kernel's memory (old kernels)", check=parse_size
        ),
        value("pids-limit", "N", "Limit of processes; -1 is no limit", check=integer),
        many("ulimit", "NAME=SOFT[:HARD]", "Resource limit of each process", check=parse_ulimit),
    ),
    *grouped(
        "Security",
        many("cap-add", "CAPABILITY", "Add a capability"),
        many("cap-drop", "CAPABILITY", "Drop a capability"),
        switch("privileged", "Give the container all capabilities and devices"),
        many(
            "security-opt",
            "OPTION",
            "seccomp=FILE, seccomp=unconfined, no-new-privileges, apparmor=…",
        ),
        many(
            "device",
            "PATH[:TARGET[:rwm]]",
            "Give the container a device of the host",
            check=check_device,
            complete="file",
        ),
        value("gpus", "all|N|device=ID", "Graphics cards the container gets", check=check_gpus),
        many("device-cgroup-rule", "RULE", "Allow devices by number"),
        value("userns", "MODE", "User namespace: host"),
    ),
    *grouped(
        "Namespaces and kernel",
        value("ipc", "MODE", "IPC namespace: private, shareable, host, none, container:NAME"),
        value("pid", "MODE", "PID namespace: host or container:NAME"),
        value("uts", "MODE", "UTS namespace: host"),
        value("cgroupns", "host|private", "Cgroup namespace", complete="host|private"),
        value("cgroup-parent", "PATH", "Parent cgroup"),
        many("sysctl", "NAME=VALUE", "Set a kernel parameter of the container"),
        value("runtime", "NAME", "OCI runtime to use"),
        switch("init", "Run a small init as process 1 that reaps processes"),
    ),
    *grouped(
        "Stopping, logs, health",
        value("stop-signal", "SIGNAL", "Signal that stops the container"),
        value("stop-timeout", "SECONDS", "How long to wait before killing it", check=integer),
        value(
            "log-driver",
            "NAME",
            "Where its output is kept",
            complete="json-file|local|journald|syslog|none",
        ),
        many("log-opt", "NAME=VALUE", "Option of the log driver, such as max-size=10m"),
        value("health-cmd", "COMMAND", "Command that says whether it is healthy"),
        value(
            "health-interval", "DURATION", "Time between two checks", check=parse_health_duration
        ),
        value(
            "health-timeout", "DURATION", "How long a check may take", check=parse_health_duration
        ),
        value("health-retries", "N", "Failed checks in a row until it is unhealthy", check=integer),
        value(
            "health-start-period",
            "DURATION",
            "Time to start up before failures count",
            check=parse_health_duration,
        ),
        value(
            "health-start-interval",
            "DURATION",
            "Time between checks while it starts",
            check=parse_health_duration,
        ),
        switch("no-healthcheck", "Turn the image's health check off"),
    ),
    *grouped(
        "Attaching",
        many(
            "attach",
            "STREAM",
            "Attach to stdin, stdout or stderr only",
            short="a",
            check=parse_attach,
            complete="stdin|stdout|stderr",
        ),
    ),
)
