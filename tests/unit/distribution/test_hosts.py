"""hosts.toml: mirrors of any registry, what is honoured and what is refused."""

from pathlib import Path

import pytest

from kedge.distribution.endpoints import Endpoint, RegistrySettings
from kedge.distribution.hosts import load_hosts
from kedge.distribution.routing import endpoints_for, registry_for
from kedge.errdefs import InvalidParameterError
from kedge.oci.references import Reference

DIGEST = "sha256:" + "0" * 64


def write(root: Path, name: str, text: str) -> RegistrySettings:
    (root / name).mkdir()
    (root / name / "hosts.toml").write_text(text)
    return RegistrySettings(certs_directories=(str(root), "/nowhere"))


def test_mirrors_before_the_server(tmp_path: Path) -> None:
    settings = write(
        tmp_path,
        "quay.io",
        """
        server = "https://real.example"
        [host."https://one.example:5000"]
          ca = "one.crt"
          client = [["c.cert", "c.key"]]
          [host."https://one.example:5000".header]
            X-Team = ["a", "b"]
          [host."https://one.example:5000".rewrite]
            "^team/(.*)" = "proxy/$1"
        [host."http://two.example/v2/cache"]
          override_path = true
          skip_verify = true
        """,
    )
    one, two, server = endpoints_for(Reference("quay.io", "team/app", "1"), settings)
    assert one.api == "one.example:5000/v2/"
    assert one.authorities == (f"{tmp_path}/quay.io/one.crt",)
    assert one.client_pairs == ((f"{tmp_path}/quay.io/c.cert", f"{tmp_path}/quay.io/c.key"),)
    assert one.headers == {"x-team": "a, b"}
    assert one.repository("team/app") == "proxy/app"
    assert one.repository("other/app") == "other/app"
    assert one.namespace == "quay.io"
    assert two.api == "two.example/v2/cache/"
    assert two.schemes == ("http",)
    assert not two.verify_tls
    assert server == Endpoint(host="real.example", schemes=("https",))
    assert registry_for("quay.io", settings) == server


def test_the_registry_itself_is_last(tmp_path: Path) -> None:
    settings = write(tmp_path, "docker.io", '[host."https://m.example"]')
    hosts = [endpoint.host for endpoint in endpoints_for(Reference("docker.io", "a"), settings)]
    assert hosts == ["m.example", "registry-1.docker.io"]


def test_a_default_for_all_others(tmp_path: Path) -> None:
    settings = write(tmp_path, "_default", '[host."https://m.example/all"]')
    (mirror, own) = endpoints_for(Reference("ghcr.io", "a"), settings)
    assert mirror.api == "m.example/all/v2/"
    assert own.host == "ghcr.io"


def test_who_may_say_what_a_tag_means(tmp_path: Path) -> None:
    settings = write(
        tmp_path,
        "quay.io",
        """
        [host."https://blobs.example"]
          capabilities = ["pull"]
        [host."https://push.example"]
          capabilities = ["push"]
        """,
    )
    by_tag = endpoints_for(Reference("quay.io", "a", "1"), settings)
    by_digest = endpoints_for(Reference("quay.io", "a", digest=DIGEST), settings)
    assert [endpoint.host for endpoint in by_tag] == ["quay.io"]
    assert [endpoint.host for endpoint in by_digest] == ["blobs.example", "quay.io"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("server = [", "Invalid"),
        ("server = 3", "server: want a URL"),
        ("skip_verify = true", "skip_verify: needs server"),
        ('[host."ftp://x"]', "ftp://x: want http://HOST"),
        ('[host."https://x"]\ndial_timeout = "1s"', "dial_timeout: is not honoured"),
        ('[host."https://x"]\nskip_verify = "yes"', "skip_verify: want true or false"),
        ('[host."https://x"]\ncapabilities = ["fly"]', "capabilities: want pull"),
        ('[host."https://x"]\nca = 3', "ca: want text"),
        ('[host."https://x"]\nclient = [["a"]]', "client: want files"),
        ('[host."https://x".rewrite]\n"(" = "x"', "rewrite"),
        ('[host."https://x".header]\na = "b\\nc"', "header.a: has control characters"),
    ],
)
def test_what_is_not_honoured_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    settings = write(tmp_path, "quay.io", text)
    with pytest.raises(InvalidParameterError) as caught:
        load_hosts("quay.io", settings.certs_directories, ())
    assert problem in str(caught.value)
    assert "hosts.toml" in str(caught.value)
