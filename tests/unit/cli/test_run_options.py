import pytest

from kedge.cli.create import COMMAND as CREATE
from kedge.cli.createrequest import attached_streams, build_create_request
from kedge.cli.flags import UsageError, read_options
from kedge.cli.run import COMMAND as RUN
from kedge.client.securityoptions import security_options
from kedge.errdefs import InvalidParameterError, KedgeError
from kedge.lib.fields import flag, items, mapping, number, objects, pick, text, texts
from kedge.lib.jsontypes import JsonObject
from tests.unit.cli.vectors import as_error, needs_vectors, rows


def request_of(*words: str) -> JsonObject:
    options = read_options(RUN.flags, [*words, "busybox"], interspersed=False)
    return build_create_request(options, {})


def failure_of(*words: str) -> str:
    with pytest.raises(InvalidParameterError) as caught:
        request_of(*words)
    return str(caught.value)


@needs_vectors
@pytest.mark.parametrize("section", ["hostname", "domainname"])
def test_names(section: str) -> None:
    for row in rows("run_options", section):
        request = request_of(*texts(row, "args"))
        assert text(request, "Hostname") == text(row, "hostname")
        assert text(request, "Domainname") == text(row, "domainname")


@needs_vectors
def test_links() -> None:
    for row in rows("run_options", "links"):
        request = request_of(*texts(row, "args"))
        assert request["HostConfig"] is not None
        assert texts(request, "HostConfig", "Links") == texts(row, "host_config_links")
        found = mapping(request, "NetworkingConfig", "EndpointsConfig")
        for name, links in mapping(row, "endpoint_links").items():
            assert texts(found, name, "Links") == (links or [])


@needs_vectors
def test_networks() -> None:
    for row in rows("run_options", "network"):
        error = as_error(row)
        if error is not None:
            assert error in failure_of(*texts(row, "args"))
            continue
        request = request_of(*texts(row, "args"))
        assert text(request, "HostConfig", "NetworkMode") == row["network_mode"]
        found = mapping(request, "NetworkingConfig", "EndpointsConfig")
        assert found == row["endpoints"], row["name"]


@needs_vectors
def test_attaching() -> None:
    for row in rows("run_options", "attach"):
        options = read_options(RUN.flags, [*texts(row, "args"), "x"], interspersed=False)
        assert attached_streams(options) == (row["stdin"], row["stdout"], row["stderr"])
    for row in rows("run_options", "invalid_args"):
        with pytest.raises(UsageError) as caught:
            read_options(RUN.flags, texts(row, "args"), interspersed=False)
        assert str(caught.value) == row["error"]


@needs_vectors
def test_devices() -> None:
    for row in rows("run_options", "device"):
        words = [f"--device={device}" for device in texts(row, "devices")]
        options = read_options(CREATE.flags, [*words, "x"], interspersed=False)
        request = build_create_request(options, {})
        devices = objects(request, "HostConfig", "Devices")
        assert (devices[0] if devices else None) == row["mapping"]
        assert items(request, "HostConfig", "DeviceRequests") == (row["requests"] or [])


@needs_vectors
def test_sizes_and_modes() -> None:
    for row in rows("run_options", "sizes"):
        error = as_error(row)
        if error is None:
            found = number(request_of(*texts(row, "args")), "HostConfig", text(row, "field"))
            assert found == row["expected"]
        else:
            assert error in failure_of(*texts(row, "args"))
    for row in rows("run_options", "modes"):
        error = as_error(row)
        if error is None:
            request_of(*texts(row, "args"))
        else:
            assert error in failure_of(*texts(row, "args"))


@needs_vectors
def test_health_and_logging() -> None:
    fields = {
        "timeout_ns": "Timeout",
        "retries": "Retries",
        "interval_ns": "Interval",
        "start_period_ns": "StartPeriod",
        "start_interval_ns": "StartInterval",
    }
    for row in rows("run_options", "health"):
        if as_error(row) is not None:
            assert failure_of(*texts(row, "args")) == row["error"]
            continue
        health = mapping(request_of(*texts(row, "args")), "Healthcheck")
        assert texts(health, "Test") == texts(row, "test")
        for name, field in fields.items():
            assert number(health, field) == number(row, name)
    for row in rows("run_options", "logging"):
        if as_error(row) is not None:
            assert failure_of(*texts(row, "args")) == row["error"]
            continue
        log = mapping(request_of(*texts(row, "args")), "HostConfig", "LogConfig")
        assert text(log, "Type") == row["type"]
        assert len(mapping(log, "Config")) == row["option_count"]


@needs_vectors
def test_security_options() -> None:
    for row in rows("run_options", "security_opt_systempaths"):
        # The vectors use made-up names; a profile that is read from a file is not among them.
        found = security_options(texts(row, "input"))
        assert items(found, "SecurityOpt") == row["remaining"]
        assert pick(found, "MaskedPaths") == row["masked_paths"]
        assert pick(found, "ReadonlyPaths") == row["readonly_paths"]


def test_rm_and_restart_exclude_each_other() -> None:
    assert failure_of("--rm", "--restart=always") == (
        "conflicting options: cannot specify both --restart and --rm"
    )
    request_of("--rm", "--restart=no")


def test_a_missing_profile_is_named() -> None:
    with pytest.raises(KedgeError, match=r"opening seccomp profile \(/nowhere\) failed"):
        security_options(["seccomp=/nowhere"])


def test_defaults_are_the_engines() -> None:
    request = request_of()
    assert request["HostConfig"] == {"NetworkMode": "default"}
    assert not flag(request, "Tty")
    assert "Cmd" not in request


def test_host_certificates_are_an_annotation() -> None:
    request = request_of("--host-certs", "--annotation", "a=b")
    assert mapping(request, "HostConfig", "Annotations") == {
        "a": "b",
        "org.kedge.host-certs": "true",
    }


def test_many_flags_at_once() -> None:
    request = request_of(
        *("-itd", "--net", "host", "-e", "A=1", "-eB=2", "-m", "512m", "--cpus", "1.5"),
        *("-l", "x=y", "-v", "/a:/b", "--read-only"),
    )
    host = mapping(request, "HostConfig")
    assert request["Env"] == ["A=1", "B=2"]
    assert (host["Memory"], host["NanoCpus"], host["ReadonlyRootfs"]) == (1 << 29, 15 * 10**8, True)
    assert (host["NetworkMode"], host["Binds"]) == ("host", ["/a:/b"])
    assert request["Labels"] == {"x": "y"}
    assert flag(request, "Tty")
    assert flag(request, "OpenStdin")
