"""Who may do what: scopes, password files and tokens, without a server."""

import json

import bcrypt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm

from kedge.errdefs import InvalidParameterError
from kedge.registry.access import Scope, join_scopes
from kedge.registry.passwords import parse_password_file
from kedge.registry.tokens import granted_scopes, parse_keys

PULL = Scope("repository", "team/app", "pull")


def test_scopes_are_joined_by_resource() -> None:
    push = PULL._replace(action="push")
    catalog = Scope("registry", "catalog", "*")
    assert join_scopes([PULL, push, catalog]) == "repository:team/app:pull,push registry:catalog:*"
    assert join_scopes([PULL]) == "repository:team/app:pull"


def test_a_password_file() -> None:
    hashed = bcrypt.hashpw(b"x", bcrypt.gensalt(4))
    text = f"\n# people\nann:{hashed.decode()}\n"
    assert parse_password_file(text, "users") == {"ann": hashed}
    with pytest.raises(InvalidParameterError, match="users, line 2: not a bcrypt password"):
        parse_password_file("\nann:{SHA}abc=\n", "users")


@pytest.mark.parametrize(
    "access", [None, "x", [1], [{"type": "repository"}], [{"type": 1, "name": 2, "actions": 3}]]
)
def test_a_malformed_claim_grants_nothing(access: object) -> None:
    claims = json.loads(json.dumps({"access": access}))
    assert granted_scopes(claims) == frozenset()


def test_a_claim_grants_what_it_lists() -> None:
    entry = {"type": "repository", "name": "team/app", "actions": ["pull", 7, "push"]}
    claims = json.loads(json.dumps({"access": [entry]}))
    assert granted_scopes(claims) == {PULL, PULL._replace(action="push")}


def test_keys_as_pem_and_as_a_set() -> None:
    first = ec.generate_private_key(ec.SECP256R1()).public_key()
    second = rsa.generate_private_key(65537, 2048).public_key()
    pem = b"".join(
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in (first, second)
    )
    assert len(parse_keys(pem.decode(), "keys")) == 2
    jwks = json.dumps({"keys": [ECAlgorithm.to_jwk(first, as_dict=True)]})
    assert len(parse_keys(jwks, "keys")) == 1
    for text in ("", "nothing", '{"keys": []}', "{", "-----BEGIN X-----\nA\n-----END X-----\n"):
        with pytest.raises(InvalidParameterError, match="keys: "):
            parse_keys(text, "keys")


def test_a_broken_key() -> None:
    text = "-----BEGIN PUBLIC KEY-----\nbm8=\n-----END PUBLIC KEY-----\n"
    with pytest.raises(InvalidParameterError, match="a key cannot be read"):
        parse_keys(text, "keys")
