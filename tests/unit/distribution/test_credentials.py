import base64
import json

import pytest

from kedge.distribution.credentials import (
    ANONYMOUS,
    Credentials,
    parse_auth_config,
    parse_registry_auth,
)
from kedge.lib.jsontypes import JsonObject


def header(document: JsonObject) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


def test_the_header_of_a_pull() -> None:
    found = parse_registry_auth(header({"username": "ann", "password": "s3cret/?>"}))
    assert found == Credentials(username="ann", password="s3cret/?>")
    assert found.basic() == "Basic " + base64.b64encode(b"ann:s3cret/?>").decode()
    assert not found.is_anonymous


def test_padding_does_not_matter() -> None:
    text = header({"username": "ann", "password": "pw"})
    assert parse_registry_auth(text.rstrip("=")) == parse_registry_auth(text)


def test_the_auth_member() -> None:
    auth = base64.b64encode(b"ann:pass:word").decode()
    assert parse_auth_config({"auth": auth}) == Credentials(username="ann", password="pass:word")


def test_tokens() -> None:
    found = parse_auth_config({"identitytoken": "refresh", "registrytoken": "bearer"})
    assert found == Credentials(identity_token="refresh", registry_token="bearer")
    assert not found.is_anonymous


@pytest.mark.parametrize("text", ["", "e30=", "!!!", "bm8ganNvbg==", "W10=", "/w==", "MQ=="])
def test_nonsense_is_anonymous(text: str) -> None:
    found = parse_registry_auth(text)
    assert found == ANONYMOUS
    assert found.is_anonymous


def test_secrets_are_not_shown() -> None:
    text = repr(
        Credentials(username="ann", password="pw1", identity_token="tok2", registry_token="tok3")
    )
    assert "ann" in text
    for secret in ("pw1", "tok2", "tok3"):
        assert secret not in text
