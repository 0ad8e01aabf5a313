"""What a container sees of itself, asked from inside."""

import os

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.integration


def inside(engine: Engine, script: str, *flags: str) -> str:
    return engine.docker("run", "--rm", *flags, "busybox", "sh", "-c", script).stdout


def status(engine: Engine, *flags: str) -> dict[str, str]:
    text = inside(engine, "cat /proc/self/status", *flags)
    return {
        key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())
    }


def test_default_capabilities_and_seccomp(engine: Engine) -> None:
    found = status(engine)
    assert found["CapEff"] == found["CapPrm"] == found["CapBnd"] == "00000000a80425fb"
    assert found["CapInh"] == found["CapAmb"] == "0000000000000000"
    assert found["Seccomp"] == "2"
    assert found["NoNewPrivs"] == "0"


def test_a_user_has_no_effective_capabilities(engine: Engine) -> None:
    found = status(engine, "--user", "web")
    assert found["CapEff"] == "0000000000000000"
    assert found["Uid"].split() == ["100"] * 4
    assert found["Groups"].split() == ["101", "104"]


def test_privileged_has_all_and_no_filter(engine: Engine) -> None:
    found = status(engine, "--privileged")
    assert int(found["CapEff"], 16) > 0xA80425FB
    assert found["Seccomp"] == "0"


def test_no_new_privileges(engine: Engine) -> None:
    assert status(engine, "--security-opt", "no-new-privileges")["NoNewPrivs"] == "1"


def test_masked_and_read_only_paths(engine: Engine) -> None:
    script = (
        "wc -c < /proc/keys; ls /sys/firmware | wc -l; "
        "echo 1 > /proc/sys/kernel/panic || echo refused; "
        "touch /sys/x || echo refused"
    )
    assert inside(engine, script).split() == ["0", "0", "refused", "refused"]


def test_pid_one_hostname_and_no_foreign_descriptors(engine: Engine) -> None:
    out = inside(engine, "echo $$; hostname; ls /proc/self/fd | wc -l", "--hostname", "box")
    assert out.split() == ["1", "box", "4"]


def test_network_addresses_and_files(engine: Engine) -> None:
    out = inside(
        engine, "ip -4 -o addr show eth0; cat /etc/hosts; hostname -i", "--add-host", "db:10.1.2.3"
    )
    assert "172." in out or "192.168." in out or "10." in out
    assert "10.1.2.3\tdb" in out


def test_network_none_has_loopback_only(engine: Engine) -> None:
    assert inside(engine, "ls /sys/class/net", "--network", "none").split() == ["lo"]


def test_host_network_sees_the_hosts_links(engine: Engine) -> None:
    own = inside(engine, "ls -l /proc/self/ns/net | sed 's/.*-> //'", "--network", "host").strip()
    assert own == os.readlink("/proc/self/ns/net")


def test_another_containers_network(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "first", "busybox", "sleep", "60")
    script = "readlink /proc/self/ns/net"
    first = engine.docker("exec", "first", "sh", "-c", script).stdout
    assert inside(engine, script, "--network", "container:first") == first


def test_limits_are_in_the_cgroup(engine: Engine) -> None:
    script = (
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max "
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || "
        "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max"
    )
    out = inside(engine, script, "--memory", "64m", "--pids-limit", "50", "--cpus", "0.5").split()
    assert out[:3] == [str(64 * 1024 * 1024), "50", "50000"]


def test_memory_limit_kills_and_says_so(engine: Engine) -> None:
    done = engine.docker(
        "run", "--name", "hog", "--memory", "16m", "--memory-swap", "16m", "busybox",
        "sh", "-c", "head -c 200m /dev/zero | tail > /dev/null",
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    state = engine.get("/containers/hog/json")["State"]
    assert isinstance(state, dict)
    assert state["OOMKilled"] is True


def test_pids_limit_holds(engine: Engine) -> None:
    script = "for i in $(seq 30); do sleep 5 & done; echo started"
    done = engine.docker(
        "run", "--rm", "--pids-limit", "10", "busybox", "sh", "-c", script, check=False
    )
    assert "can't fork" in done.stderr


def test_read_only_root_with_a_tmpfs(engine: Engine) -> None:
    out = inside(
        engine,
        "touch /x || echo refused; touch /scratch/y && echo fine",
        "--read-only",
        "--tmpfs",
        "/scratch",
    )
    assert out.split() == ["refused", "fine"]


def test_bind_mounts(engine: Engine) -> None:
    shared = engine.root / "shared"
    shared.mkdir()
    (shared / "in").write_text("hello")
    out = inside(
        engine, "cat /data/in; echo back > /data/out; touch /ro/x || echo refused",
        "-v", f"{shared}:/data", "-v", f"{shared}:/ro:ro",
    )  # fmt: skip
    assert out == "hellorefused\n"
    assert (shared / "out").read_text() == "back\n"


def test_host_certs_reach_a_container_and_leave_no_trace(engine: Engine) -> None:
    script = "echo $PIP_CERT; test -s $PIP_CERT && echo there; touch $PIP_CERT || echo refused"
    out = inside(engine, script, "--annotation", "org.kedge.host-certs=true").split()
    assert out[1:] == ["there", "refused"]
    assert inside(engine, "echo [$PIP_CERT]").strip() == "[]"


def test_sysctls_shm_and_ulimits(engine: Engine) -> None:
    out = inside(
        engine,
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; df /dev/shm | tail -1; ulimit -n",
        "--shm-size", "8m", "--ulimit", "nofile=77:77",
    ).split()  # fmt: skip
    assert (out[0], out[2], out[-1]) == ("0", "8192", "77")
