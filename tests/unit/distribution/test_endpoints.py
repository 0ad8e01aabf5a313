import pytest

from kedge.distribution.endpoints import Endpoint, RegistrySettings, is_insecure
from kedge.distribution.routing import endpoints_for, registry_for
from kedge.errdefs import InvalidParameterError
from kedge.oci.references import Reference

NONE = RegistrySettings(certs_directories=())


def test_docker_hub_has_a_host_of_another_name() -> None:
    assert endpoints_for(Reference("docker.io", "app"), NONE) == [
        Endpoint(host="registry-1.docker.io")
    ]


def test_other_registries_are_their_domain() -> None:
    assert endpoints_for(Reference("ghcr.io", "app"), NONE) == [Endpoint(host="ghcr.io")]


def test_mirrors_come_first_and_serve_docker_hub_only() -> None:
    settings = RegistrySettings(
        certs_directories=(), mirrors=("https://mirror.example/hub/", "http://127.0.0.1:5001")
    )
    assert endpoints_for(Reference("docker.io", "app"), settings) == [
        Endpoint(host="mirror.example", is_mirror=True, prefix="/hub"),
        Endpoint(host="127.0.0.1:5001", schemes=("http",), verify_tls=False, is_mirror=True),
        Endpoint(host="registry-1.docker.io"),
    ]
    assert endpoints_for(Reference("quay.io", "app"), settings) == [Endpoint(host="quay.io")]


@pytest.mark.parametrize(
    "url",
    ["mirror.example", "ftp://mirror.example", "https://", "https://u:p@m.example", "http://m?q=1"],
)
def test_strange_mirrors_are_refused(url: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid mirror"):
        endpoints_for(
            Reference("docker.io", "app"), RegistrySettings(certs_directories=(), mirrors=(url,))
        )


@pytest.mark.parametrize(
    ("host", "insecure", "expected"),
    [
        ("localhost", (), True),
        ("localhost:5000", (), True),
        ("127.0.0.1:5000", (), True),
        ("127.8.9.10", (), True),
        ("[::1]:5000", (), True),
        ("10.0.0.1:5000", (), False),
        ("example.com", (), False),
        ("localhost.example.com", (), False),
        ("example.com:5000", ("example.com:5000",), True),
        ("example.com:5001", ("example.com:5000",), False),
        ("example.com:5001", ("example.com",), True),
        ("10.1.2.3:5000", ("10.0.0.0/8",), True),
        ("11.1.2.3:5000", ("10.0.0.0/8", "nonsense/99"), False),
        ("[fd00::1]:5000", ("fd00::/8",), True),
    ],
)
def test_whom_to_trust(host: str, insecure: tuple[str, ...], expected: bool) -> None:  # noqa: FBT001
    assert is_insecure(host, insecure) is expected


def test_a_network_counts_for_names_in_it() -> None:
    asked: list[str] = []

    def lookup(name: str) -> list[str]:
        asked.append(name)
        return ["10.1.2.3"]

    assert is_insecure("registry.example:5000", ("10.0.0.0/8",), lookup)
    assert not is_insecure("registry.example", ("11.0.0.0/8",), lookup)
    assert asked == ["registry.example"] * 2
    assert not is_insecure("registry.example", ("other.example",), lookup)
    assert len(asked) == 2


def test_no_mirror_is_written_to() -> None:
    settings = RegistrySettings(certs_directories=(), mirrors=("https://mirror.example",))
    assert registry_for("docker.io", settings) == Endpoint(host="registry-1.docker.io")


def test_insecure_registries_may_speak_http() -> None:
    (endpoint,) = endpoints_for(Reference("localhost:5000", "app"), NONE)
    assert endpoint.schemes == ("https", "http")
    assert not endpoint.verify_tls


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        (Endpoint(host="example.com"), "example.com:443"),
        (Endpoint(host="example.com:5000"), "example.com:5000"),
        (Endpoint(host="example.com", schemes=("http",)), "example.com:80"),
        (Endpoint(host="[::1]"), "[::1]:443"),
        (Endpoint(host="[::1]:5000"), "[::1]:5000"),
    ],
)
def test_addresses_in_messages_have_a_port(endpoint: Endpoint, address: str) -> None:
    assert endpoint.address == address
