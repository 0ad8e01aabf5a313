"""Who may do what: a password file, tokens of an authority of the test's own, TLS."""

import base64
import hashlib
import hmac
import json
import signal
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kedge.lib.clock import SYSTEM_CLOCK
from tests.kedgeregistry import Client, KedgeRegistry, make_certificate

if TYPE_CHECKING:
    from kedge.lib.jsontypes import Json, JsonObject

pytestmark = pytest.mark.integration

REALM = "https://auth.example/token"


def now_s() -> int:
    return SYSTEM_CLOCK.time_ns() // 1_000_000_000


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def test_a_password_file(own: KedgeRegistry, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"# the team\nann:{hashed('s3cret')}\n")
    own.flags = ("--htpasswd", str(users))
    own.start()
    nobody = Client(own.host)
    answer = nobody.ask("GET", "/v2/")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"] == 'Basic realm="kedge registry"'
    for header in (basic("ann", "wrong"), basic("bob", "s3cret"), "Basic !!", "Bearer x"):
        refused = nobody.ask("GET", "/v2/", headers={"Authorization": header})
        assert refused.status == 401
        assert "s3cret" not in refused.body.decode()
    ann = Client(own.host, authorization=basic("ann", "s3cret"))
    ann.push_image("team/app", "v1")
    assert nobody.ask("GET", "/v2/team/app/manifests/v1").status == 401
    # The file is read again when it changes.
    users.write_text(f"bob:{hashed('other')}\n")
    assert ann.ask("GET", "/v2/").status == 401
    bob = Client(own.host, authorization=basic("bob", "other"))
    assert bob.ask("GET", "/v2/team/app/manifests/v1").status == 200
    for client in (nobody, ann, bob):
        client.close()


def test_everybody_may_pull_where_that_is_allowed(own: KedgeRegistry, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{hashed('s3cret')}\n")
    own.flags = ("--htpasswd", str(users), "--anonymous-pull")
    own.start()
    ann = Client(own.host, authorization=basic("ann", "s3cret"))
    ann.push_image("team/app", "v1")
    nobody = Client(own.host)
    assert nobody.ask("GET", "/v2/team/app/manifests/v1").status == 200
    assert nobody.ask("POST", "/v2/team/app/blobs/uploads/").status == 401
    assert nobody.ask("DELETE", "/v2/team/app/manifests/v1").status == 401
    # The version check still asks, so that docker login and docker push know they have to.
    assert nobody.ask("GET", "/v2/").status == 401
    ann.close()
    nobody.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ann:$apr1$abc$def\n", "line 1: not a bcrypt password: make it with htpasswd -B"),
        ("ann\n", "line 1: not a bcrypt password: make it with htpasswd -B"),
        (None, "cannot read"),
    ],
)
def test_a_bad_password_file(
    own: KedgeRegistry, tmp_path: Path, text: str | None, said: str
) -> None:
    users = tmp_path / "users"
    if text is not None:
        users.write_text(text)
    own.flags = ("--htpasswd", str(users))
    with pytest.raises(AssertionError, match=said):
        own.start()


class Authority:
    """Makes tokens."""

    def __init__(self, directory: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.keys = directory / "authority.pem"
        self.keys.write_bytes(
            self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )

    def flags(self) -> tuple[str, ...]:
        return (
            *("--token-realm", REALM, "--token-service", "kedge.test"),
            *("--token-issuer", "the authority", "--token-keys", str(self.keys)),
        )

    def token(self, *scopes: str, **changes: object) -> str:
        access: list[JsonObject] = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed: list[Json] = list(actions.split(","))
            access.append({"type": kind, "name": name, "actions": allowed})
        claims: dict[str, object] = {
            "iss": "the authority",
            "aud": "kedge.test",
            "sub": "ann",
            "exp": now_s() + 600,
            "access": access,
            **changes,
        }
        return "Bearer " + jwt.encode(claims, self.key, algorithm="ES256")


def test_tokens(own: KedgeRegistry, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own.flags = authority.flags()
    own.start()
    nobody = Client(own.host)
    challenge = nobody.ask("PUT", "/v2/team/app/manifests/v1").headers["www-authenticate"]
    assert challenge == (
        f'Bearer realm="{REALM}",service="kedge.test",scope="repository:team/app:pull,push"'
    )
    assert "scope" not in nobody.ask("GET", "/v2/").headers["www-authenticate"]
    pusher = Client(own.host, authorization=authority.token("repository:team/app:pull,push"))
    pusher.push_image("team/app", "v1")
    puller = Client(own.host, authorization=authority.token("repository:team/app:pull"))
    assert puller.ask("GET", "/v2/team/app/manifests/v1").status == 200
    for method, path in (
        ("POST", "/v2/team/app/blobs/uploads/"),
        ("GET", "/v2/team/other/manifests/v1"),
        ("GET", "/v2/_catalog"),
    ):
        answer = puller.ask(method, path)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert pusher.ask("DELETE", "/v2/team/app/manifests/v1").status == 401
    for client in (nobody, pusher, puller):
        client.close()


def test_tokens_that_are_not_valid(own: KedgeRegistry, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    scope = "repository:a:pull"
    none = jwt.encode({"iss": "the authority", "aud": "kedge.test"}, "", algorithm="none")
    public = authority.keys.read_bytes()
    shared = _signed_with_the_public_key(public)
    own.flags = authority.flags()
    own.start()
    client = Client(own.host)
    for token in (
        authority.token(scope, exp=now_s() - 3600),
        authority.token(scope, aud="another registry"),
        authority.token(scope, iss="somebody"),
        authority.token(scope, nbf=now_s() + 3600),
        Authority(other).token(scope),
        f"Bearer {none}",
        f"Bearer {shared}",
        "Bearer nonsense",
    ):
        answer = client.ask("GET", "/v2/a/tags/list", headers={"Authorization": token})
        assert answer.status == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert token.partition(" ")[2] not in answer.body.decode()
    client.close()


def _signed_with_the_public_key(public: bytes) -> str:
    """Return a token whose shared secret is the authority's public key (CVE-2015-9235)."""

    def encoded(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    head = encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    claims = {"iss": "the authority", "aud": "kedge.test", "exp": now_s() + 600}
    body = encoded(json.dumps(claims).encode())
    signature = hmac.new(public, head + b"." + body, hashlib.sha256).digest()
    return (head + b"." + body + b"." + encoded(signature)).decode()


def test_tls_and_a_new_certificate(own: KedgeRegistry, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    own.flags = ("--tls-cert", str(certificate), "--tls-key", str(key))
    own.start()
    client = Client(own.host, tls=ssl.create_default_context(cafile=str(certificate)))
    blob = bytes(range(256)) * 4096
    client.push_image("team/app", "v1", blob)
    digest = json.loads(client.ask("GET", "/v2/team/app/manifests/v1").body)["layers"][0]["digest"]
    assert client.ask("GET", f"/v2/team/app/blobs/{digest}").body == blob
    client.close()
    make_certificate(tmp_path)
    own.send(signal.SIGHUP)
    assert own.next_line() == "read the certificate again\n"
    again = Client(own.host, tls=ssl.create_default_context(cafile=str(certificate)))
    assert again.ask("GET", "/v2/").status == 200
    again.close()
    certificate.write_text("no certificate")
    own.send(signal.SIGHUP)
    assert own.next_line().endswith("; the old one stays\n")


def test_client_certificates(own: KedgeRegistry, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    mine, my_key = make_certificate(tmp_path, "client")
    own.flags = (
        *("--tls-cert", str(certificate), "--tls-key", str(key)),
        *("--tls-client-ca", str(mine)),
    )
    own.start()
    context = ssl.create_default_context(cafile=str(certificate))
    stranger = Client(own.host, tls=context)
    with pytest.raises(OSError, match=r"certificate required|reset|broken|EOF|closed"):
        stranger.ask("GET", "/v2/")
    stranger.close()
    context.load_cert_chain(mine, my_key)
    known = Client(own.host, tls=context)
    assert known.ask("GET", "/v2/").status == 200
    known.close()
