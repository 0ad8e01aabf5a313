import pytest

from kedge.engine.logoptions import (
    SyslogAddress,
    buffer_size,
    cache_options,
    check_log_options,
    chosen,
    file_options,
    settle_log_options,
    syslog_address,
    syslog_facility,
)
from kedge.errdefs import InvalidParameterError, NotSupportedError

MEGABYTE = 1000 * 1000


@pytest.mark.parametrize(
    ("driver", "options", "expected"),
    [
        ("json-file", {}, (20 * MEGABYTE, 5, False)),
        ("json-file", {"max-size": "10m"}, (10 * MEGABYTE, 1, False)),
        ("json-file", {"max-size": "10m", "max-file": "3"}, (10 * MEGABYTE, 3, False)),
        ("json-file", {"max-file": "3", "compress": "true"}, (20 * MEGABYTE, 3, True)),
        ("json-file", {"max-size": "-1"}, (0, 5, False)),
        ("local", {}, (20 * MEGABYTE, 5, True)),
        ("local", {"max-size": "1k", "compress": "false"}, (1000, 5, False)),
        ("local", {"max-file": "1"}, (20 * MEGABYTE, 1, False)),
    ],
)
def test_how_much_is_kept(
    driver: str, options: dict[str, str], expected: tuple[int, int, bool]
) -> None:
    check_log_options(driver, options)
    assert file_options(driver, options) == expected


def test_what_is_kept_beside_a_service() -> None:
    options = {"cache-max-size": "1m", "cache-max-file": "2", "cache-compress": "false"}
    check_log_options("syslog", options)
    assert cache_options(options) == (MEGABYTE, 2, False)


@pytest.mark.parametrize(
    ("driver", "options", "text"),
    [
        ("xx", {}, "logger: no log driver named 'xx' is registered"),
        ("json-file", {"x": "1"}, "unknown log opt 'x' for json-file log driver"),
        ("local", {"labels": "a"}, "unknown log opt 'labels' for log-driver local"),
        ("syslog", {"max-size": "1m"}, "unknown log opt 'max-size' for syslog log driver"),
        ("journald", {"max-size": "1m"}, "unknown log opt 'max-size' for journald log driver"),
        ("json-file", {"max-size": "big"}, "invalid size: 'big'"),
        ("json-file", {"max-size": "0"}, "want more than nothing"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "x"}, "want a number"),
        ("json-file", {"compress": "yes"}, "want true or false"),
        ("json-file", {"compress": "true", "max-file": "1"}, "compress cannot be true"),
        ("json-file", {"mode": "fast"}, "logger: logging mode not supported: fast"),
        ("json-file", {"max-buffer-size": "1m"}, "only supported with 'mode=non-blocking'"),
        (
            "local",
            {"mode": "non-blocking", "max-buffer-size": "x"},
            "error parsing option max-buffer-size: invalid size: 'x'",
        ),
        ("json-file", {"labels-regex": "("}, "labels-regex"),
        ("syslog", {"syslog-address": "nowhere"}, "should be in form proto://address, got nowhere"),
        ("syslog", {"syslog-address": "ftp://x"}, "unsupported scheme: 'ftp'"),
        ("syslog", {"syslog-address": "udp://x:70000"}, "want udp://host:port"),
        ("syslog", {"syslog-facility": "loud"}, "invalid syslog facility"),
        ("syslog", {"syslog-facility": "24"}, "invalid syslog facility"),
        ("syslog", {"syslog-format": "x"}, "invalid syslog format"),
        ("syslog", {"cache-disabled": "maybe"}, "cache-disabled"),
    ],
)
def test_mistakes_are_named(driver: str, options: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        check_log_options(driver, options)
    assert text in str(caught.value)


def test_encrypted_syslog_is_refused_by_name() -> None:
    with pytest.raises(NotSupportedError, match="tcp\\+tls"):
        check_log_options("syslog", {"syslog-address": "tcp+tls://host:6514"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("", "")),
        ("udp://host", ("udp", "host:514")),
        ("tcp://192.0.2.1:601", ("tcp", "192.0.2.1:601")),
        ("tcp://[2001:db8::1]:601", ("tcp", "[2001:db8::1]:601")),
        ("unixgram:///dev/log", ("unixgram", "/dev/log")),
    ],
)
def test_syslog_addresses(text: str, expected: tuple[str, str]) -> None:
    assert syslog_address({"syslog-address": text}) == SyslogAddress(*expected)


def test_facilities_have_the_numbers_of_the_rfc() -> None:
    names = ["kern", "daemon", "ftp", "local0", "local7", "23", ""]
    numbers = [syslog_facility({"syslog-facility": name}) for name in names]
    assert numbers == [0, 3, 11, 16, 23, 23, 3]


def test_modes() -> None:
    assert buffer_size({}) == 0
    assert buffer_size({"mode": "blocking"}) == 0
    assert buffer_size({"mode": "non-blocking"}) == MEGABYTE
    assert buffer_size({"mode": "non-blocking", "max-buffer-size": "4m"}) == 4 * 1024 * 1024


def test_defaults_apply_to_the_default_driver_only() -> None:
    defaults = {"max-file": "2", "cache-max-size": "1m"}

    def settle(driver: str, options: dict[str, str]) -> tuple[str, dict[str, str]]:
        return settle_log_options(driver, options, default_driver="json-file", defaults=defaults)

    assert settle("", {"max-file": "7"}) == (
        "json-file", {"max-file": "7", "cache-max-size": "1m"}
    )  # fmt: skip
    assert settle("json-file", {}) == ("json-file", defaults)
    assert settle("local", {}) == ("local", {"cache-max-size": "1m"})


def test_labels_and_environment_by_name_and_pattern() -> None:
    have = {"a": "1", "b": "2", "bb": "3"}
    assert chosen({"labels": "a,zz"}, "labels", have) == {"a": "1"}
    assert chosen({"labels": "a", "labels-regex": "^b"}, "labels", have) == have
    assert chosen({}, "labels", have) == {}
