from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.cli.options import ports
from kedge.cli.portlist import show_ports
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import flag, objects, text, texts
from kedge.lib.jsontypes import JsonObject
from tests.unit.cli.vectors import as_error, needs_vectors, rows


def failure_of(parse: Callable[[str], object], value: str) -> str:
    with pytest.raises(InvalidParameterError) as caught:
        parse(value)
    return str(caught.value)


@needs_vectors
def test_ranges_and_numbers() -> None:
    for row in rows("ports", "port_range"):
        error = as_error(row)
        if error is not None:
            assert failure_of(ports.parse_port_range, text(row, "input")) == error
        else:
            assert [*ports.parse_port_range(text(row, "input"))] == row["expected"]
    for row in rows("ports", "port_number"):
        error = as_error(row)
        if error is not None:
            assert failure_of(ports.parse_port_number, text(row, "input")) == error
        else:
            assert ports.parse_port_number(text(row, "input")) == row["expected"]


@needs_vectors
def test_protocols_are_split_off() -> None:
    for row in rows("ports", "split_proto_port"):
        assert ports.split_protocol(text(row, "input")) == (row["port"], row["proto"])


@needs_vectors
def test_one_value_becomes_mappings() -> None:
    for row in rows("ports", "port_spec"):
        error = as_error(row)
        if error is not None:
            assert failure_of(ports.parse_port_spec, text(row, "input")) == error
            continue
        found = ports.parse_port_spec(text(row, "input"))
        expected = [
            (text(m, "port"), text(m, "host_ip"), text(m, "host_port"))
            for m in objects(row, "expected")
        ]
        assert [tuple(mapping) for mapping in found] == expected


@needs_vectors
def test_many_values_become_exposed_ports_and_bindings() -> None:
    for row in rows("ports", "port_specs"):
        values = texts(row, "input")
        if as_error(row) is not None:
            with pytest.raises(InvalidParameterError):
                ports.merge(values, [])
            continue
        exposed, bindings = ports.merge(values, [])
        assert set(texts(row, "exposed_include")) <= set(exposed)
        if "exposed" in row:
            assert exposed == row["exposed"]
        for port, mappings in bindings.items():
            assert len(mappings) == row["bindings_per_port"]
            assert {mapping.host_ip for mapping in mappings} == {text(row, "host_ip")}
            same = flag(row, "host_port_equals_container_port")
            wanted = port.split("/", maxsplit=1)[0] if same else text(row, "host_port")
            assert {mapping.host_port for mapping in mappings} == {wanted}


@needs_vectors
def test_the_long_form_is_shortened() -> None:
    for row in rows("ports", "long_to_short"):
        if as_error(row) is not None:
            with pytest.raises(InvalidParameterError):
                [ports.long_to_short(value) for value in texts(row, "input")]
        else:
            assert [ports.long_to_short(v) for v in texts(row, "input")] == row["expected"]


@needs_vectors
def test_expose() -> None:
    for row in rows("ports", "expose"):
        error = as_error(row)
        if error is None:
            assert ports.parse_expose(text(row, "input")) == row["expected"]
        else:
            # The library says the range once more, the command's own text does not.
            assert failure_of(ports.parse_expose, text(row, "input")).startswith(error)


def test_a_published_port_is_exposed_once() -> None:
    exposed, _ = ports.merge(["80"], ["80-81/tcp"])
    assert exposed == ["80/tcp", "81/tcp"]


@given(st.integers(1, 65535), st.integers(1, 65535), st.sampled_from(["tcp", "udp", "sctp"]))
def test_what_is_published_comes_back(host: int, container: int, protocol: str) -> None:
    found = ports.parse_port_spec(f"[::1]:{host}:{container}/{protocol}")
    assert found == [ports.Mapping(f"{container}/{protocol}", "::1", str(host))]


def port(private: int, public: int = 0, ip: str = "", kind: str = "tcp") -> JsonObject:
    found: JsonObject = {"PrivatePort": private, "Type": kind}
    return found | ({"PublicPort": public, "IP": ip} if public else {})


@pytest.mark.parametrize(
    ("given_ports", "shown"),
    [
        ([], ""),
        ([port(80)], "80/tcp"),
        ([port(81), port(80), port(82, kind="udp")], "80-81/tcp, 82/udp"),
        (
            [port(80, 8080, "0.0.0.0"), port(80, 8080, "::")],
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
        ),
        (
            [port(n, n, "1.2.3.4") for n in (80, 81, 82, 90)],
            "1.2.3.4:80-82->80-82/tcp, 1.2.3.4:90->90/tcp",
        ),
    ],
)  # fmt: skip
def test_ports_in_tables(given_ports: list[JsonObject], shown: str) -> None:
    assert show_ports(given_ports) == shown
