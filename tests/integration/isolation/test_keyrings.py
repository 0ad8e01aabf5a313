"""The kernel's keyrings, which no namespace but the user's divides."""

import errno

import pytest

from kedge.runtime.seccomp.architectures import syscall_numbers
from tests.engine import Engine
from tests.integration.isolation import probe
from tests.integration.isolation.conftest import call_all

pytestmark = pytest.mark.integration

_WORDS = b"user\0secret\0"
_TYPE, _NAME = probe.DATA, probe.DATA + 5
# KEY_SPEC_SESSION_KEYRING and KEY_SPEC_USER_KEYRING of linux/keyctl.h; KEYCTL_GET_KEYRING_ID is 0.
_SESSION, _USER = -3, -4
_NUMBERS = syscall_numbers("x86_64")
_ADD = probe.request(_NUMBERS["add_key"], _TYPE, _NAME, _NAME, 6, _SESSION)
_FIND = probe.request(_NUMBERS["request_key"], _TYPE, _NAME, 0, 0)
_RINGS = b"".join(
    probe.request(_NUMBERS["keyctl"], 0, ring, int(ring == _USER)) for ring in (_SESSION, _USER)
)
_CALL = "/probe < /{} | hexdump -ve '1/1 \"%02x\"'"
_OPEN = ("--security-opt", "seccomp=unconfined")


def test_keys_are_out_of_reach_by_default(each: Engine) -> None:
    found = call_all(each, ["add_key", "request_key", "keyctl"])
    assert set(found.values()) == {-errno.EPERM}


def test_each_container_has_a_session_keyring_of_its_own(each: Engine) -> None:
    files = {"probe": probe.program(_WORDS), "add": _ADD, "find": _FIND, "rings": _RINGS}
    each.build("FROM busybox\nCOPY probe add find rings /\n", "keys", files)

    def exec_in(name: str, what: str) -> list[int]:
        done = each.docker("exec", name, "sh", "-c", _CALL.format(what))
        return probe.results(done.stdout)

    try:
        for name in ("one", "two"):
            each.docker("run", "-d", "--name", name, *_OPEN, "keys", "sleep", "600")
        (key,) = exec_in("one", "add")
        assert key > 0
        # Who is in the container finds its key; who is in another does not.
        assert exec_in("one", "find") == [key]
        assert exec_in("two", "find") == [-errno.ENOKEY]
        (mine, user), (theirs, same_user) = exec_in("one", "rings"), exec_in("two", "rings")
        assert mine > 0
        assert theirs > 0
        assert mine != theirs
        # A user's keyring is one for all of its containers, but for a user namespace of their own.
        divided = "name=userns" in str(each.get("/info")["SecurityOptions"])
        assert (user != same_user) is divided
        assert exec_in("one", "rings") == [mine, user]
    finally:
        each.docker("rm", "-f", "one", "two")
        each.docker("rmi", "-f", "keys")
