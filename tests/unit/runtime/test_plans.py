from pathlib import Path

import pytest

from kedge.errdefs import InvalidParameterError, KedgeError, NotFoundError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.linux import namespaces as ns
from kedge.oci.runtime_spec import Capabilities, Process, SpecMount, parse_spec
from kedge.oci.runtime_spec.types import Device, MemoryPolicy, Namespace, Rlimit
from kedge.oci.runtime_spec_seccomp import Seccomp, SeccompRule
from kedge.runtime.container import Stdio, create_container
from kedge.runtime.devices import DEFAULT_DEVICES, all_devices
from kedge.runtime.launch import plan_capabilities, ungranted
from kedge.runtime.limits import plan_limits
from kedge.runtime.namespaces import plan_namespaces
from kedge.runtime.rootfs import plan_mounts
from kedge.runtime.scheduling import PlannedPolicy, parse_cpus, plan_memory_policy
from kedge.runtime.seccomp.actions import filter_flags
from kedge.runtime.seccomp_agent import check_listener
from kedge.runtime.state import check_id


def test_unlimited_is_the_kernel_s_minus_one() -> None:
    limit = plan_limits((Rlimit("RLIMIT_NOFILE", 1024, (1 << 64) - 1),))[0]
    assert (limit.number, limit.soft, limit.hard) == (7, 1024, -1)


@pytest.mark.parametrize(
    "limits",
    [
        (Rlimit("RLIMIT_NOTHING", 1, 1),),
        (Rlimit("RLIMIT_CORE", 2, 1),),
        (Rlimit("RLIMIT_CORE", 1, 1), Rlimit("RLIMIT_CORE", 1, 1)),
    ],
)
def test_bad_limits_are_refused(limits: tuple[Rlimit, ...]) -> None:
    with pytest.raises(InvalidParameterError, match="RLIMIT_"):
        plan_limits(limits)


def test_capabilities_are_cut_to_what_makes_sense() -> None:
    sets = Capabilities(
        bounding=("CAP_CHOWN", "CAP_FROM_THE_FUTURE"),
        effective=("CAP_CHOWN", "CAP_KILL"),
        permitted=("CAP_CHOWN",),
        ambient=("CAP_CHOWN",),
    )
    masks = plan_capabilities(Process("/", capabilities=sets), in_user_namespace=True)
    assert masks.permitted == 1
    assert masks.effective == 1, "effective is part of permitted"
    assert masks.ambient == 0, "ambient needs inheritable"
    assert masks.bounding_drop & 1 == 0
    assert masks.bounding_drop >> 5 & 1 == 1


def test_what_no_host_can_grant_is_named() -> None:
    sets = Capabilities(bounding=("CAP_KILL", "CAP_OF_TOMORROW"), ambient=("CAP_CHOWN",))
    process = Process("/", capabilities=sets)
    assert ungranted(process, in_user_namespace=True) == ("CAP_OF_TOMORROW",)


def test_no_capabilities_means_none() -> None:
    masks = plan_capabilities(Process("/"), in_user_namespace=True)
    assert masks.permitted == 0
    assert masks.bounding_drop > 1 << 30


def test_the_pid_namespace_is_made_before_the_fork() -> None:
    plan = plan_namespaces(tuple(map(Namespace, ("mount", "pid", "ipc"))))
    assert plan.new_pid
    assert plan.unshare_flags == ns.CLONE_NEWNS | ns.CLONE_NEWIPC


def test_in_a_user_namespace_it_is_made_by_the_child() -> None:
    plan = plan_namespaces(tuple(map(Namespace, ("mount", "pid", "user"))))
    assert not plan.new_pid
    assert plan.unshare_flags & ns.CLONE_NEWPID


def test_an_inherited_network_is_not_made_again() -> None:
    namespaces = tuple(map(Namespace, ("mount", "network")))
    assert plan_namespaces(namespaces, inherit_network=True).unshare_flags == ns.CLONE_NEWNS


def test_namespaces_to_join_are_opened_and_closed() -> None:
    plan = plan_namespaces((Namespace("mount"), Namespace("uts", "/proc/self/ns/uts")))
    assert [flag for _fd, flag in plan.joins] == [ns.CLONE_NEWUTS]
    plan.close()


def test_a_missing_namespace_is_named() -> None:
    with pytest.raises(NotFoundError, match="network namespace /no/such"):
        plan_namespaces((Namespace("mount"), Namespace("network", "/no/such")))


@pytest.mark.parametrize("kinds", [(), ("pid",), ("mount", "mount")])
def test_impossible_namespaces_are_refused(kinds: tuple[str, ...]) -> None:
    with pytest.raises(InvalidParameterError):
        plan_namespaces(tuple(map(Namespace, kinds)))


def test_a_relative_bind_source_is_the_bundle_s() -> None:
    mount = SpecMount("/data", source="data", options=("rbind",))
    assert plan_mounts((mount,), "/bundle")[0].spec.source == "/bundle/data"


@pytest.mark.parametrize(
    "mount",
    [
        SpecMount("/", "tmpfs"),
        SpecMount("/a/..", "tmpfs"),
        SpecMount("/a"),
        SpecMount("/a", "bind"),
        SpecMount("/a", "bind", "/b", ("tmpcopyup",)),
    ],
)
def test_mounts_that_make_no_sense_are_refused(mount: SpecMount) -> None:
    with pytest.raises(InvalidParameterError):
        plan_mounts((mount,), "/bundle")


def test_a_device_of_the_spec_replaces_the_default() -> None:
    own = Device("c", "/dev/null", 1, 3, file_mode=0o600)
    found = all_devices((own, Device("c", "/dev/fuse", 10, 229)))
    assert len(found) == len(DEFAULT_DEVICES) + 1
    assert own in found


def test_cpu_lists() -> None:
    assert parse_cpus("0-2, 5") == {0, 1, 2, 5}
    assert parse_cpus("") == frozenset()
    with pytest.raises(InvalidParameterError):
        parse_cpus("0-")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ä", "x" * 1025])
def test_ids_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameterError):
        check_id(name)


def document(**linux: Json) -> JsonObject:
    base: JsonObject = {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
    base.update(linux)
    return {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["true"]},
        "linux": base,
    }


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (document(sysctl={"vm.swappiness": "1"}), "vm.swappiness is not in a separate kernel"),
        (document(sysctl={"net.ipv4.ip_forward": "1"}), "needs a network namespace"),
        (document() | {"hostname": "x"}, "uts namespace"),
        (document(intelRdt={}), "linux.intelRdt is not supported"),
        (document(netDevices={"eth0": {}}), "linux.netDevices needs a network namespace"),
        (document(timeOffsets={"boottime": {"secs": 1}}), "time namespace"),
        (document(namespaces=[{"type": "mount"}, {"type": "user"}]), "uidMappings"),
        (document() | {"process": {"cwd": "x"}}, "must be absolute"),
        (document() | {"process": {"cwd": "/", "args": ["a\0b"]}}, "process.args[0]"),
        (document() | {"root": {"path": "missing"}}, "is not a directory"),
    ],
)
def test_a_bad_spec_is_refused_before_any_fork(
    tmp_path: Path, config: JsonObject, text: str
) -> None:
    (tmp_path / "rootfs").mkdir()
    with pytest.raises(KedgeError) as caught:
        create_container(
            parse_spec(config),
            container_id="x",
            bundle=str(tmp_path),
            stdio=Stdio(),
            cgroup=None,
        )
    assert text in str(caught.value)


NOTIFY = SeccompRule(("mkdir",), "SCMP_ACT_NOTIFY")


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        (Seccomp("SCMP_ACT_ALLOW", syscalls=(NOTIFY,)), "listenerPath is required"),
        (Seccomp("SCMP_ACT_NOTIFY", listener_path="/x"), "sendmsg"),
        (
            Seccomp(
                "SCMP_ACT_ALLOW",
                listener_path="/x",
                syscalls=(NOTIFY._replace(names=("write", "sendmsg")),),
            ),
            "sendmsg",
        ),
    ],
)
def test_a_listener_nobody_could_be_given_is_refused(profile: Seccomp, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        check_listener(profile)


def test_a_listener_that_can_be_handed_over() -> None:
    check_listener(Seccomp("SCMP_ACT_ALLOW", listener_path="/ignored"))
    allowed = SeccompRule(("sendmsg",), "SCMP_ACT_ALLOW")
    profile = Seccomp("SCMP_ACT_NOTIFY", listener_path="/x", syscalls=(allowed,))
    check_listener(profile)
    assert filter_flags(profile._replace(flags=("SECCOMP_FILTER_FLAG_TSYNC",))) == 0b11001


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (MemoryPolicy("MPOL_BIND"), "needs at least one"),
        (MemoryPolicy("MPOL_LOCAL", "0"), "takes none"),
        (MemoryPolicy("MPOL_BIND", "4-2000"), "above 1023"),
    ],
)
def test_memory_policies_that_make_no_sense(policy: MemoryPolicy, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        plan_memory_policy(policy)


def test_a_memory_policy_in_numbers() -> None:
    flags = ("MPOL_F_STATIC_NODES", "MPOL_F_STATIC_NODES")
    planned = plan_memory_policy(MemoryPolicy("MPOL_INTERLEAVE", "0-1,3", flags))
    assert planned == PlannedPolicy("MPOL_INTERLEAVE", 1 << 15 | 3, 0b1011)
    assert plan_memory_policy(None) is None
