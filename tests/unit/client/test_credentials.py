"""Docker's config.json: what is read, what is kept, and what a helper is asked."""

import base64
import json
import os
from pathlib import Path

import pytest

from kedge.client.credentials import (
    HUB_KEY,
    CredentialStore,
    Login,
    config_directory,
    registry_auth_headers,
    registry_config_headers,
)
from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.lib.jsontypes import JsonObject

ANN = Login("ann", "s3:cret")
HELPER = """#!/bin/sh
# A helper that keeps secrets in files beside it.
cd "$(dirname "$0")"
read line
case $1 in
store) echo "$line" > stored ;;
get) [ -f stored ] && cat stored && exit 0
    echo "credentials not found in native keychain"; exit 1 ;;
erase) rm -f stored ;;
esac
"""


@pytest.fixture
def store(tmp_path: Path) -> CredentialStore:
    return CredentialStore(str(tmp_path / "docker"))


def read(store: CredentialStore) -> JsonObject:
    document: JsonObject = json.loads(Path(store.path).read_text())
    return document


def write(store: CredentialStore, document: JsonObject) -> None:
    Path(store.path).parent.mkdir(exist_ok=True)
    Path(store.path).write_text(json.dumps(document))


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "docker-credential-test"
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "stored"


def test_kept_as_docker_keeps_it(store: CredentialStore) -> None:
    assert store.keep("r.example:5000", ANN) == store.path
    assert read(store) == {"auths": {"r.example:5000": {"auth": "YW5uOnMzOmNyZXQ="}}}
    assert Path(store.path).stat().st_mode & 0o777 == 0o600
    assert store.find("r.example:5000") == ANN
    assert store.find("r.example") is None


def test_what_is_not_understood_stays(store: CredentialStore) -> None:
    write(store, {"auths": {"a": {"auth": "eDp5"}}, "psFormat": "table", "plugins": {"x": {}}})
    store.keep("b", ANN)
    document = read(store)
    assert document["psFormat"] == "table"
    assert document["plugins"] == {"x": {}}
    assert store.find("a") == Login("x", "y")


def test_a_link_stays_a_link(store: CredentialStore, tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    real.write_text("{}")
    Path(store.path).parent.mkdir()
    Path(store.path).symlink_to(real)
    store.keep("a", ANN)
    assert Path(store.path).is_symlink()
    assert "auths" in json.loads(real.read_text())


@pytest.mark.parametrize("key", [HUB_KEY, "docker.io", "https://registry-1.docker.io/v2/"])
def test_names_of_docker_hub(store: CredentialStore, key: str) -> None:
    store.keep(key, ANN)
    assert store.find("docker.io") == ANN


def test_a_url_names_its_host(store: CredentialStore) -> None:
    write(store, {"auths": {"https://r.example/v1/": {"auth": "eDp5"}}})
    assert store.find("r.example") == Login("x", "y")
    assert store.forget("r.example")
    assert not store.forget("r.example")
    assert store.find("r.example") is None


def test_an_identity_token_instead_of_the_password(store: CredentialStore) -> None:
    store.keep("a", Login("ann", identity_token="token"))
    assert store.find("a") == Login("ann", identity_token="token")


@pytest.mark.parametrize("entry", [{}, {"auth": "%%%"}, [], "x", {"auth": 3}])
def test_an_entry_that_says_nothing(store: CredentialStore, entry: JsonObject) -> None:
    write(store, {"auths": {"a": entry}})
    assert store.find("a") is None


def test_damaged_files_are_named(store: CredentialStore) -> None:
    Path(store.path).parent.mkdir()
    for text in ("{", "[]"):
        Path(store.path).write_text(text)
        with pytest.raises(SystemFailureError, match=store.path):
            store.find("a")


@pytest.mark.parametrize(
    "config", [{"credsStore": "test"}, {"credsStore": "none", "credHelpers": {"a": "test"}}]
)
def test_a_helper_keeps_the_secret(
    store: CredentialStore, helper: Path, config: JsonObject
) -> None:
    write(store, config)
    assert store.find("a") is None
    assert store.keep("a", ANN) == ""
    assert "s3:cret" not in Path(store.path).read_text()
    assert json.loads(helper.read_text()) == {
        "ServerURL": "a", "Username": "ann", "Secret": "s3:cret"
    }  # fmt: skip
    assert store.find("a") == ANN
    assert store.all() == {"a": ANN}
    assert store.forget("a")
    assert not helper.exists()


def test_a_helper_keeps_a_token(store: CredentialStore, helper: Path) -> None:
    write(store, {"credsStore": "test"})
    store.keep("a", Login("ann", identity_token="token"))
    assert json.loads(helper.read_text())["Username"] == "<token>"
    assert store.find("a") == Login(identity_token="token")


def test_a_helper_that_is_missing_or_no_name(store: CredentialStore) -> None:
    write(store, {"credsStore": "not-there"})
    with pytest.raises(SystemFailureError, match="docker-credential-not-there is not installed"):
        store.find("a")
    write(store, {"credsStore": "../x"})
    with pytest.raises(InvalidParameterError, match="without a slash"):
        store.find("a")


def test_a_helper_that_fails_keeps_its_secrets(store: CredentialStore, helper: Path) -> None:
    program = helper.parent / "docker-credential-test"
    program.write_text("#!/bin/sh\necho s3cret; echo locked >&2; exit 1\n")
    write(store, {"credsStore": "test"})
    with pytest.raises(SystemFailureError, match="fails to get: locked") as caught:
        store.find("a")
    assert "s3cret" not in str(caught.value)


def test_headers(store: CredentialStore) -> None:
    assert registry_auth_headers(store, "docker.io") == {}
    assert registry_config_headers(store) == {}
    store.keep(HUB_KEY, ANN)
    sent = registry_auth_headers(store, "docker.io")["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(sent)) == {
        "username": "ann", "password": "s3:cret", "serveraddress": HUB_KEY
    }  # fmt: skip
    sent = registry_config_headers(store)["X-Registry-Config"]
    assert list(json.loads(base64.urlsafe_b64decode(sent))) == [HUB_KEY]


def test_no_secret_in_a_repr() -> None:
    assert "s3:cret" not in repr(ANN)
    assert "s3:cret" not in f"{[ANN]}"


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert config_directory({}) == "/home/ann/.docker"
    assert config_directory({"DOCKER_CONFIG": "/etc/d"}) == "/etc/d"
