import pytest

from kedge.api.types.config import HostConfig
from kedge.engine.userns import (
    DEFAULT_FIRST_ID,
    IdMaps,
    check_user_namespace,
    mapped_rootfs,
    mapping_for,
    parse_remap,
    shared_user_namespace,
)
from kedge.errdefs import InvalidParameterError
from kedge.oci.mounts import Mount
from kedge.oci.runtime_spec.types import IdMapping

SUBIDS = "anna:100000:65536\n1001:300000:10\nbert:400000:5\n1001:500000:20\n# note\nbad:line\n"
MAPS = IdMaps((IdMapping(0, 100000, 65536),), (IdMapping(0, 100000, 65536),))


class Accounts:
    """anna is 1000, bert 1001, nobody of the name carl."""

    users = {"root": 0, "anna": 1000, "bert": 1001, "lone": 1002}  # noqa: RUF012

    def user(self, key: str | int) -> tuple[str, int] | None:
        for name, uid in self.users.items():
            if key in (name, uid):
                return name, uid
        return None

    def group(self, key: str | int) -> str | None:
        found = self.user(key)
        return None if found is None or found[0] == "lone" else found[0]


class WithDockremap(Accounts):
    users = {"dockremap": 120}  # noqa: RUF012


def parse(wanted: str, subids: str = SUBIDS) -> IdMaps | None:
    return parse_remap(wanted, Accounts(), subuid=subids, subgid=subids)


@pytest.mark.parametrize("wanted", ["anna", "1000", "anna:anna", "1000:1001", "anna:1000"])
def test_a_users_range(wanted: str) -> None:
    assert parse(wanted) == MAPS


def test_ranges_by_name_and_by_id_lie_side_by_side() -> None:
    found = parse("bert")
    assert found is not None
    assert found.uids == (
        IdMapping(0, 300000, 10),
        IdMapping(10, 400000, 5),
        IdMapping(15, 500000, 20),
    )


def test_users_and_groups_have_ranges_of_their_own() -> None:
    found = parse_remap("anna", Accounts(), subuid="anna:7:8\n", subgid="anna:9:10\n")
    assert found == IdMaps((IdMapping(0, 7, 8),), (IdMapping(0, 9, 10),))


def test_root_cannot_be_mapped_to_himself() -> None:
    assert parse("root") is None
    assert parse("0") is None


def test_default_is_a_fixed_range_where_nobody_has_one() -> None:
    found = parse("default")
    assert found == IdMaps(
        (IdMapping(0, DEFAULT_FIRST_ID, 65536),), (IdMapping(0, DEFAULT_FIRST_ID, 65536),)
    )


@pytest.mark.parametrize("accounts", [Accounts(), WithDockremap()])
def test_default_is_dockremaps_where_docker_has_been(accounts: Accounts) -> None:
    text = "dockremap:165536:65536\n"
    found = parse_remap("default", accounts, subuid=text, subgid=text)
    assert found is not None
    assert found.gids == (IdMapping(0, 165536, 65536),)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("a:b:c", "invalid user/group specification in --userns-remap"),
        ("anna:", "invalid user/group specification"),
        ("carl", 'error during uid lookup for "carl"'),
        ("77", "uid 77 has no entry in /etc/passwd"),
        ("anna:carl", 'error during gid lookup for "carl"'),
        ("anna:77", "gid 77 has no entry in /etc/group"),
        ("lone", 'error during gid lookup for "lone"'),
        ("1002:1000", 'no subuid ranges found for user "lone"'),
    ],
)
def test_what_makes_no_mapping(wanted: str, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        parse(wanted)


@pytest.mark.parametrize(
    ("subids", "text"),
    [
        ("anna:0:65536\n", "neither reach the host's root"),
        ("anna:4294967290:65536\n", "nor end after the last id"),
    ],
)
def test_ranges_of_no_use(subids: str, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        parse("anna", subids)


def test_a_default_range_that_somebody_has_is_not_taken() -> None:
    with pytest.raises(InvalidParameterError, match="belong to carl: give dockremap a range"):
        parse("default", f"carl:{DEFAULT_FIRST_ID + 65535}:10\n")


@pytest.mark.parametrize(
    ("host", "text"),
    [
        (HostConfig(privileged=True), "privileged mode is incompatible with user namespaces"),
        (HostConfig(network_mode="host"), "cannot share the host's network namespace"),
        (HostConfig(pid_mode="host"), "cannot share the host PID namespace"),
        (HostConfig(ipc_mode="host"), "cannot share the host's IPC namespace"),
        (HostConfig(userns_mode="private"), "invalid user namespace mode: private"),
    ],
)
def test_what_a_user_namespace_keeps_out(host: HostConfig, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        check_user_namespace(host, MAPS)


def test_the_hosts_user_namespace_may_have_all_of_it() -> None:
    host = HostConfig(privileged=True, network_mode="host", pid_mode="host", userns_mode="host")
    check_user_namespace(host, MAPS)
    assert mapping_for(host, MAPS) is None
    check_user_namespace(HostConfig(privileged=True), None)
    assert mapping_for(HostConfig(), MAPS) == MAPS


def test_layers_are_asked_to_be_mapped() -> None:
    mounts = (Mount("overlay", "overlay", ("lowerdir=/a:/b",)),)
    assert mapped_rootfs(mounts, None) == mounts
    assert mapped_rootfs(mounts, MAPS)[0].options == ("lowerdir=/a:/b", "idmap")


def test_joining_who_is_in_the_hosts_user_namespace_is_refused() -> None:
    assert shared_user_namespace(("", None)) == ""
    with pytest.raises(InvalidParameterError, match="another user namespace"):
        shared_user_namespace(("", "/proc/self/ns/net"))
