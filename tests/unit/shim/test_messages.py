import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import (
    ConflictError,
    InvalidParameterError,
    KedgeError,
    NotFoundError,
    SystemFailureError,
)
from kedge.oci.mounts import Mount
from kedge.oci.runtime_spec.types import IdMapping
from kedge.shim.logconfig import LogConfig, LogForward
from kedge.shim.messages import (
    CreateRequest,
    ExecRequest,
    ExitStatus,
    decode_failure,
    encode_create,
    encode_exec,
    encode_exit,
    encode_failure,
    parse_create,
    parse_exec,
    parse_exit,
)

WORD = st.text(max_size=8)
SIZE = st.integers(0, 2**63 - 1)
MOUNTS = st.builds(
    Mount,
    type=WORD,
    source=WORD,
    options=st.lists(WORD, max_size=3).map(tuple),
    destination=WORD,
)
MAPPINGS = st.lists(st.builds(IdMapping, SIZE, SIZE, SIZE), max_size=2).map(tuple)
REQUESTS = st.builds(
    CreateRequest,
    id=WORD,
    bundle=WORD,
    run_dir=WORD,
    cgroup_path=WORD,
    rootfs=st.lists(MOUNTS, max_size=2).map(tuple),
    terminal=st.booleans(),
    stdin=st.booleans(),
    stdin_once=st.booleans(),
    own_netns=st.booleans(),
    uid_mappings=MAPPINGS,
    gid_mappings=MAPPINGS,
    user_namespace=WORD,
    dns_port=st.integers(-1, 65535),
    log=st.none()
    | st.builds(
        LogConfig,
        path=WORD,
        max_size=SIZE,
        max_files=SIZE,
        compress=st.booleans(),
        attrs=WORD,
        forward=st.none()
        | st.builds(
            LogForward,
            driver=WORD,
            network=WORD,
            address=WORD,
            tag=WORD,
            facility=SIZE,
            labels=st.lists(st.tuples(WORD, WORD), unique_by=lambda item: item[0]).map(tuple),
        ),
        buffer_size=SIZE,
    ),
)


@given(REQUESTS)
def test_create_request_round_trip(request: CreateRequest) -> None:
    assert parse_create(encode_create(request)) == request


@given(
    st.builds(ExecRequest, exec_id=WORD, process=st.just({"args": ["true"]}), stdin=st.booleans())
)
def test_exec_request_round_trip(request: ExecRequest) -> None:
    assert parse_exec(encode_exec(request)) == request


def test_exit_status_round_trip() -> None:
    status = ExitStatus(exit_code=137, signal=9, exited_at_ns=12, oom_killed=True)
    assert parse_exit(encode_exit(status)) == status


@pytest.mark.parametrize("error", [NotFoundError("no such file"), ConflictError("taken")])
def test_failures_keep_class_and_words(error: KedgeError) -> None:
    again = decode_failure(encode_failure(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_failure_of_the_kernel_names_the_path() -> None:
    again = decode_failure(encode_failure(FileNotFoundError(2, "No such file or directory", "/x")))
    assert isinstance(again, SystemFailureError)
    assert str(again) == "/x: no such file or directory"


@pytest.mark.parametrize("name", ["KeyboardInterrupt", "annotations", "", None])
def test_only_our_own_classes_are_raised(name: str | None) -> None:
    again = decode_failure({"class": name, "message": "boom"})
    assert type(again) is SystemFailureError


def test_missing_key_is_named() -> None:
    with pytest.raises(InvalidParameterError, match=r"create\.bundle"):
        parse_create({"id": "x"})
