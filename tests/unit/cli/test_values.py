import pytest

from kedge.cli.options import values
from kedge.cli.options.networks import parse_network
from kedge.cli.options.ulimits import parse_ulimit
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import flag, mapping, text, texts
from kedge.lib.units import format_ram, format_size, parse_ram, parse_size
from tests.unit.cli.vectors import as_error, load, needs_vectors, rows


@needs_vectors
def test_addresses() -> None:
    for row in rows("values", "ip_address"):
        error = as_error(row)
        if error is None:
            assert values.parse_ip(text(row, "input")) == row["expected"]
        else:
            with pytest.raises(InvalidParameterError) as caught:
                values.parse_ip(text(row, "input"))
            assert str(caught.value) == error


@needs_vectors
def test_search_domains() -> None:
    for row in rows("values", "dns_search"):
        if flag(row, "ok"):
            values.check_dns_search(text(row, "input"))
        else:
            with pytest.raises(InvalidParameterError, match="not a valid domain"):
                values.check_dns_search(text(row, "input"))


@needs_vectors
def test_capabilities() -> None:
    for row in rows("values", "capability"):
        assert values.parse_capability(text(row, "input")) == row["expected"]
    for row in rows("values", "cap_add_drop"):
        found = values.effective_capabilities(texts(row, "add"), texts(row, "drop"))
        assert found == (row["expected_add"], row["expected_drop"])


@needs_vectors
def test_hosts() -> None:
    for row in rows("hosts", "extra_host"):
        error = as_error(row)
        if error is None:
            assert values.parse_extra_host(text(row, "input")) == row["expected"]
        else:
            with pytest.raises(InvalidParameterError) as caught:
                values.parse_extra_host(text(row, "input"))
            assert str(caught.value) == error


@needs_vectors
def test_networks() -> None:
    for row in rows("values", "network"):
        error = as_error(row)
        if error is not None:
            with pytest.raises(InvalidParameterError) as caught:
                parse_network(text(row, "input"))
            assert error in str(caught.value)
            continue
        found, expected = parse_network(text(row, "input")), mapping({"": row["expected"]}, "")
        if not expected:
            assert isinstance(row["expected"], list)
            expected = mapping({"": row["expected"][0]}, "")
        assert found.get("Target") == expected["Target"]
        for name, content in expected.items():
            assert (found.get(name) or []) == (content or []), row


@needs_vectors
def test_links() -> None:
    for row in rows("values", "link"):
        error = as_error(row)
        if error is None:
            values.parse_link(text(row, "input"))
        else:
            with pytest.raises(InvalidParameterError) as caught:
                values.parse_link(text(row, "input"))
            assert error in str(caught.value)
    for row in rows("values", "link_parse"):
        if as_error(row) is None:
            found = values.parse_link(text(row, "input"))
            assert found == (row["name"], row["alias"])


@needs_vectors
def test_limits() -> None:
    for row in rows("ulimit", "parse"):
        if as_error(row) is None:
            found = parse_ulimit(text(row, "input"))
            expected = {"Name": found.name, "Soft": found.soft, "Hard": found.hard}
            assert expected == row["expected"]
        else:
            with pytest.raises(InvalidParameterError):
                parse_ulimit(text(row, "input"))
    for row in rows("ulimit", "to_string"):
        assert str(parse_ulimit(text(row, "input"))) == row["string"]
    for row in rows("ulimit", "cli_option"):
        error = as_error(row)
        if error is not None:
            with pytest.raises(InvalidParameterError) as caught:
                parse_ulimit(text(row, "input"))
            assert error in str(caught.value)


@needs_vectors
def test_sizes() -> None:
    for row in rows("sizes", "parse"):
        parse = parse_ram if text(row, "function") == "ram_in_bytes" else parse_size
        if as_error(row) is None:
            assert parse(text(row, "input")) == row["expected"], row
        else:
            with pytest.raises(InvalidParameterError):
                parse(text(row, "input"))
    for row in rows("sizes", "format"):
        show = format_ram if text(row, "function") == "bytes_size" else format_size
        size = row["input"]
        assert isinstance(size, (int, float))
        assert show(size) == row["expected"]


@needs_vectors
def test_restart_policies_devices_and_streams() -> None:
    vectors = load("run_options")
    assert vectors
    for row in rows("run_options", "restart"):
        error = as_error(row)
        if error is None:
            assert values.parse_restart(text(row, "input")) == row["expected"]
        else:
            with pytest.raises(InvalidParameterError) as caught:
                values.parse_restart(text(row, "input"))
            assert str(caught.value) == error
    for row in rows("run_options", "device_validate"):
        error = as_error(row)
        if error is None:
            values.check_device(text(row, "input"))
        else:
            with pytest.raises(InvalidParameterError) as caught:
                values.check_device(text(row, "input"))
            assert str(caught.value) == error, row
    for row in rows("run_options", "attach_value"):
        if as_error(row) is None:
            assert values.parse_attach(text(row, "input")) == row["expected"]
        else:
            with pytest.raises(InvalidParameterError):
                values.parse_attach(text(row, "input"))


@pytest.mark.parametrize(
    ("given", "billionths"), [("1", 10**9), ("1.5", 15 * 10**8), (".25", 25 * 10**7)]
)
def test_cpus(given: str, billionths: int) -> None:
    assert values.parse_cpus(given) == billionths


@pytest.mark.parametrize("given", ["", "foo", "-1", "1e3", "0.1234567891"])
def test_no_number_of_cpus(given: str) -> None:
    with pytest.raises(InvalidParameterError):
        values.parse_cpus(given)
