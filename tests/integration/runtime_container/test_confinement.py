"""What a container may do, seen from inside."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from kedge.errdefs import ForbiddenError, KedgeError, NotFoundError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.runtime.child import fork_child
from tests.integration.runtime_container.conftest import DOCKER_CAPABILITIES, Run

pytestmark = pytest.mark.integration

Spec = Callable[[str], JsonObject]


def process_of(document: JsonObject) -> JsonObject:
    process = document["process"]
    assert isinstance(process, dict)
    return process


def linux_of(document: JsonObject) -> JsonObject:
    linux = document["linux"]
    assert isinstance(linux, dict)
    return linux


def status_of(output: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in output.splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}


def test_docker_s_default_confinement(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("cat /proc/self/status")
    document["annotations"] = {"org.kedge.seccomp": "default"}
    found = status_of(run(document).output)
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert found[name] == "00000000a80425fb"
    assert found["CapInh"] == found["CapAmb"] == "0" * 16
    assert found["Seccomp"] == "2"
    assert found["NoNewPrivs"] == "0"


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("uid", [0, 1000])
def test_the_filter_is_loaded_for_any_user(
    run: Run, shell_spec: Spec, uid: int, *, no_new_privileges: bool
) -> None:
    document = shell_spec("cat /proc/self/status; mount -t tmpfs x /tmp")
    document["annotations"] = {"org.kedge.seccomp": "default"}
    process_of(document)["user"] = {"uid": uid, "gid": uid}
    process_of(document)["noNewPrivileges"] = no_new_privileges
    result = run(document)
    found = status_of(result.output)
    assert found["Seccomp"] == "2"
    assert found["NoNewPrivs"] == str(int(no_new_privileges))
    assert found["CapEff"] == ("00000000a80425fb" if uid == 0 else "0" * 16)
    assert result.code != 0, "mount must be refused"


def test_a_profile_of_the_spec_is_obeyed(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("mkdir /new")
    linux_of(document)["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }
    result = run(document)
    assert result.code == 1
    assert "not supported" in result.output


def test_ambient_capabilities_reach_another_user(run: Run, shell_spec: Spec) -> None:
    names: Json = ["CAP_NET_BIND_SERVICE"]
    document = shell_spec("cat /proc/self/status")
    process_of(document)["user"] = {"uid": 1000, "gid": 1000}
    process_of(document)["capabilities"] = dict.fromkeys(
        ("bounding", "effective", "permitted", "inheritable", "ambient"), names
    )
    found = status_of(run(document).output)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert found[name] == "0000000000000400"


def test_capabilities_this_host_lacks_are_left_out(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("true")
    names: Json = [*DOCKER_CAPABILITIES, "CAP_SYS_RESOURCE", "CAP_FROM_THE_FUTURE"]
    process_of(document)["capabilities"] = {"bounding": names, "permitted": names}
    assert run(document).code == 0


def test_user_groups_home_and_umask(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("id; env; umask; pwd")
    process_of(document)["user"] = {
        "uid": 1000,
        "gid": 1001,
        "additionalGids": [5, 6],
        "umask": 0o27,
    }
    process_of(document)["cwd"] = "/made/on/the/way"
    output = run(document).output
    assert "uid=1000(app) gid=1001 groups=5,6" in output
    assert "HOME=/home/app\n" in output
    assert "0027\n" in output
    assert output.endswith("/made/on/the/way\n")


def test_limits_are_set(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj")
    process_of(document)["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]
    process_of(document)["oomScoreAdj"] = 500
    assert run(document).output.split() == ["64", "128", "500"]


def test_a_limit_too_low_for_the_runtime_itself_works(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("true")
    process_of(document)["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3},
        {"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0},
    ]
    assert run(document).code == 0


def test_a_refused_limit_is_named(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("true")
    with open("/proc/sys/fs/nr_open", encoding="ascii") as file:
        impossible = int(file.read()) + 1
    process_of(document)["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": impossible}]
    with pytest.raises(ForbiddenError, match="RLIMIT_NOFILE"):
        run(document)


@pytest.mark.parametrize(
    ("args", "failure", "text"),
    [
        (["foo"], NotFoundError, 'exec: "foo": executable file not found in $PATH'),
        (["/foo"], NotFoundError, 'exec: "/foo": stat /foo: no such file or directory'),
        (["/etc/passwd"], ForbiddenError, 'exec: "/etc/passwd": permission denied'),
        (["/etc"], ForbiddenError, 'exec: "/etc": is a directory'),
        (["/garbage"], ForbiddenError, "exec /garbage: exec format error"),
        (["/script"], NotFoundError, "exec /script: no such file or directory"),
    ],
)
def test_docker_s_words_for_what_cannot_run(
    run: Run,
    bundle: Path,
    shell_spec: Spec,
    args: list[str],
    failure: type[KedgeError],
    text: str,
) -> None:
    (bundle / "rootfs/garbage").write_text("garbage")
    (bundle / "rootfs/script").write_text("#!/no/such/interpreter\n")
    for name in ("garbage", "script"):
        (bundle / "rootfs" / name).chmod(0o755)
    document = shell_spec("")
    process_of(document)["args"] = [*args]
    with pytest.raises(failure) as caught:
        run(document)
    assert str(caught.value) == text


def test_only_the_standard_streams_are_open(run: Run, shell_spec: Spec) -> None:
    leak = os.open("/", os.O_RDONLY)
    os.set_inheritable(leak, True)  # noqa: FBT003
    try:
        output = run(shell_spec("ls -1 /proc/$$/fd; true")).output
    finally:
        os.close(leak)
    # The shell moves what it keeps open itself to 10 and beyond.
    assert [int(fd) for fd in output.split() if int(fd) < 10] == [0, 1, 2]


def test_namespaces_are_the_container_s_own(run: Run, shell_spec: Spec) -> None:
    output = run(
        shell_spec(
            "echo $$; hostname; cat /proc/self/cgroup; "
            "for n in /proc/self/ns/*; do readlink $n; done"
        )
    ).output.split("\n")
    assert output[:2] == ["1", "box"]
    assert all(line.endswith(":/") for line in output if line.count(":") == 2)
    inside = {line for line in output if line.endswith("]")}
    for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup"):
        assert os.readlink(f"/proc/self/ns/{kind}") not in inside
    assert os.readlink("/proc/self/ns/user") in inside


def test_the_container_dies_with_its_parent(bundle: Path, shell_spec: Spec) -> None:
    """A killed shim must not leave a running container."""
    from kedge.linux import prctl  # noqa: PLC0415
    from kedge.oci.runtime_spec import parse_spec  # noqa: PLC0415
    from kedge.runtime.container import Stdio, create_container  # noqa: PLC0415

    document = shell_spec("sleep 60")
    mounts = document["mounts"]
    assert isinstance(mounts, list)
    document["mounts"] = mounts[:-1]  # without a cgroup there is none to show
    reading, writing = os.pipe()
    prctl.set_child_subreaper()
    try:
        shim = os.fork()  # noqa: TID251
        if shim == 0:
            try:
                made = create_container(
                    parse_spec(document),
                    container_id="test",
                    bundle=str(bundle),
                    stdio=Stdio(),
                    cgroup=None,
                )
                made.start()
                os.write(writing, str(made.pid).encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(shim, 0)
        pid = int(os.read(reading, 16))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    finally:
        prctl.set_child_subreaper(enabled=False)
        os.close(reading)


def test_what_becomes_a_container_can_import_nothing() -> None:
    """Its paths are the image's: a module found there would run with the host's rights."""

    def look() -> NoReturn:
        try:
            __import__("this")  # nobody has it loaded
        except ImportError:
            os._exit(7)
        os._exit(1)

    child = fork_child(look)
    os.close(child.pidfd)
    assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == 7
