import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.api.codec import decode, encode, parse_json
from kedge.api.types.config import HostConfig, PortBinding
from kedge.api.types.container import CreateRequest
from kedge.api.types.wire import Empty
from kedge.errdefs import InvalidParameterError


def create(document: object) -> CreateRequest:
    return decode(json.dumps(document).encode(), CreateRequest)


def failure_of(text: bytes) -> str:
    """Return the failure's text, or a stand-in when there is none."""
    try:
        decode(text, CreateRequest)
    except InvalidParameterError as error:
        return str(error)
    return "invalid JSON: not at all"


def test_keys_match_in_any_case_and_unknown_ones_are_ignored() -> None:
    got = create(
        {"image": "a", "HOSTCONFIG": {"binds": ["/a:/b"], "dNS": ["::1"]}, "New": {"x": 1}}
    )
    assert got.image == "a"
    assert got.host_config.binds == ["/a:/b"]
    assert got.host_config.dns == ["::1"]


def test_null_leaves_the_zero_value() -> None:
    got = create(
        {
            "Env": None,
            "Labels": None,
            "HostConfig": {"Memory": None, "LogConfig": None, "PidsLimit": None},
            "NetworkingConfig": None,
        }
    )
    assert got == CreateRequest()


def test_null_in_collections_is_the_zero_value_of_their_items() -> None:
    got = create(
        {
            "Env": [None, "A=1"],
            "Volumes": {"/data": None},
            "HostConfig": {"PortBindings": {"80/tcp": None, "81/tcp": [None]}},
            "NetworkingConfig": {"EndpointsConfig": {"bridge": None}},
        }
    )
    assert got.env == ["", "A=1"]
    assert got.volumes == {"/data": Empty()}
    assert got.host_config.port_bindings == {"80/tcp": None, "81/tcp": [PortBinding()]}
    assert got.networking_config.endpoints_config == {"bridge": None}


def test_a_string_stands_for_a_list_of_one_where_docker_takes_it() -> None:
    got = create({"Cmd": "echo hi", "Entrypoint": [], "HostConfig": {"CapAdd": "NET_ADMIN"}})
    assert got.cmd == ["echo hi"]
    assert got.entrypoint == []
    assert got.shell is None
    assert got.host_config.cap_add == ["NET_ADMIN"]
    with pytest.raises(InvalidParameterError, match=r"Env"):
        create({"Env": "A=1"})


def test_the_last_of_several_spellings_wins() -> None:
    assert decode(b'{"Image": "a", "image": "b"}', CreateRequest).image == "b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "invalid JSON: got EOF while reading request body"),
        (b"  \n", "invalid JSON: got EOF while reading request body"),
        (b"{", "invalid JSON: unexpected EOF"),
        (b'{"Image": "x', "invalid JSON: unexpected EOF"),
        (b"{}{}", "unexpected content after JSON"),
        (b"{}]", "unexpected content after JSON"),
        (b"{'a': 1}", "invalid JSON: Expecting property name enclosed in double quotes (byte 1)"),
        (b'{"Image": 1}', "invalid JSON: Expected `str`, got `int` - at `$.Image`"),
        (b'{"HostConfig": {"Memory": "1g"}}',
         "invalid JSON: Expected `int`, got `str` - at `$.HostConfig.Memory`"),
        (b'{"HostConfig": []}', "invalid JSON: Expected `object`, got `array` - at `$.HostConfig`"),
        (b"[]", "invalid JSON: Expected `object`, got `array`"),
        (b'{"Env": [NaN]}', "invalid JSON: invalid character 'N' looking for beginning of value"),
        (b"[" * 100_000, "invalid JSON: exceeded max depth"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(text: bytes, message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        decode(text, CreateRequest)
    assert str(caught.value) == message


def test_what_was_encoded_decodes_to_the_same() -> None:
    request = create({"Image": "a", "Cmd": ["b"], "HostConfig": {"Memory": 5, "Init": True}})
    assert decode(encode(request), CreateRequest) == request


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(JSON_VALUES)
def test_parsing_is_the_inverse_of_dumping(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@given(st.dictionaries(st.sampled_from(HostConfig.__struct_encode_fields__), JSON_VALUES))
def test_no_document_crashes_the_decoder(document: dict[str, object]) -> None:
    assert failure_of(json.dumps({"HostConfig": document}).encode()).startswith("invalid JSON: ")


@given(st.binary(max_size=50))
def test_no_bytes_crash_the_decoder(text: bytes) -> None:
    assert "\n" not in failure_of(text)
