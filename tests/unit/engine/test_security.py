import pytest

from kedge.engine import defaults
from kedge.engine.security import parse_security, select_capabilities
from kedge.errdefs import InvalidParameterError


def test_the_default_is_dockers_fourteen() -> None:
    assert set(select_capabilities((), ())) == set(defaults.DEFAULT_CAPABILITIES)
    assert len(defaults.DEFAULT_CAPABILITIES) == 14


def test_names_work_with_and_without_prefix_in_any_case() -> None:
    chosen = select_capabilities(["net_admin", "CAP_SYS_TIME"], ["chown"])
    assert "CAP_NET_ADMIN" in chosen
    assert "CAP_SYS_TIME" in chosen
    assert "CAP_CHOWN" not in chosen


def test_add_all_then_drop_one() -> None:
    chosen = select_capabilities(["ALL"], ["SYS_ADMIN"])
    assert set(chosen) == set(defaults.ALL_CAPABILITIES) - {"CAP_SYS_ADMIN"}


def test_drop_all_then_add_one() -> None:
    assert select_capabilities(["KILL"], ["ALL"]) == ("CAP_KILL",)


def test_unknown_capability_is_named() -> None:
    with pytest.raises(InvalidParameterError, match='unknown capability: "CAP_FLY"'):
        select_capabilities(["fly"], [])


def test_privileged_means_all_of_them() -> None:
    assert select_capabilities([], ["ALL"], privileged=True) == defaults.ALL_CAPABILITIES


def test_security_options() -> None:
    options = parse_security(["no-new-privileges", "seccomp=unconfined", "systempaths=unconfined"])
    assert options.no_new_privileges
    assert options.seccomp_unconfined
    assert options.unmask_paths


def test_a_profile_of_the_users_own_is_kept() -> None:
    options = parse_security(['seccomp={"defaultAction": "SCMP_ACT_ALLOW"}'])
    assert options.seccomp_profile == {"defaultAction": "SCMP_ACT_ALLOW"}


@pytest.mark.parametrize("option", ["seccomp={", "seccomp=[]", "fly=high", "systempaths=no"])
def test_bad_options_are_refused(option: str) -> None:
    with pytest.raises(InvalidParameterError):
        parse_security([option])
