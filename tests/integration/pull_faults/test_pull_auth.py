"""Who may pull, who is asked for a token, and where credentials must never go."""

import base64
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from kedge.distribution.credentials import Credentials
from kedge.distribution.failures import ConnectionFailedError
from kedge.distribution.transport import Timeouts, Transport
from kedge.distribution.trust import Trust
from kedge.errdefs import KedgeError, NotFoundError, UnauthorizedError, UnavailableError
from tests.integration.pull_faults.conftest import (
    FakeRegistry,
    Pushed,
    Received,
    Reply,
    World,
    error,
)

pytestmark = pytest.mark.integration

ANN = Credentials(username="ann", password="s3cret")
BASIC = "Basic " + base64.b64encode(b"ann:s3cret").decode()


class TokenService:
    """The token service of a registry: a second host that the first one names."""

    def __init__(self, registry: FakeRegistry, server: FakeRegistry) -> None:
        self.server = server
        self.grant = {"token": "good"}
        self.wants = ""
        """What the Authorization header must be; empty for anybody."""
        self.refuse_scope = False
        registry.rules.append(self.guard)
        server.rules.append(self.token)

    def guard(self, request: Received) -> Reply | None:
        if request.authorization == "Bearer good" and not self.refuse_scope:
            return None
        if request.path == "/v2/":
            return None
        challenge = (
            f'Bearer realm="{self.server.url}/token",service="test",'
            f'scope="repository:{request.path.split("/")[2]}:pull"'
        )
        if request.authorization:
            challenge += ',error="insufficient_scope"' if self.refuse_scope else ""
        reply = error(401, "UNAUTHORIZED", "authentication required")
        reply.headers["WWW-Authenticate"] = challenge
        return reply

    def token(self, request: Received) -> Reply:
        if self.wants and request.authorization != self.wants:
            return error(401, "UNAUTHORIZED", "incorrect username or password")
        return Reply(body=json.dumps(self.grant).encode())

    def query(self, number: int = 0) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.server.received[number].path).query)


@pytest.fixture
def tokens(registry: FakeRegistry, other_registry: FakeRegistry) -> TokenService:
    return TokenService(registry, other_registry)


@pytest.fixture
def pushed(registry: FakeRegistry) -> Pushed:
    return registry.push("app", "1", {"a": b"a"}, {"b": b"b"})


def test_anonymous_token(
    registry: FakeRegistry, world: World, tokens: TokenService, pushed: Pushed
) -> None:
    assert world.pull(f"{registry.host}/app:1").image.id == pushed.config
    assert len(tokens.server.received) == 1
    assert tokens.query() == {"service": ["test"], "scope": ["repository:app:pull"]}
    assert tokens.server.received[0].authorization == ""


@pytest.mark.usefixtures("pushed")
def test_token_for_a_user(registry: FakeRegistry, world: World, tokens: TokenService) -> None:
    tokens.wants = BASIC
    world.pull(f"{registry.host}/app:1", credentials=ANN)
    assert tokens.query()["account"] == ["ann"]
    sent = {request.authorization for request in registry.received}
    assert sent == {"", "Bearer good"}


@pytest.mark.usefixtures("pushed")
def test_access_token_is_another_name(
    registry: FakeRegistry, world: World, tokens: TokenService
) -> None:
    tokens.grant = {"access_token": "good"}
    assert world.pull(f"{registry.host}/app:1").was_new


@pytest.mark.usefixtures("pushed")
def test_identity_token(registry: FakeRegistry, world: World, tokens: TokenService) -> None:
    world.pull(f"{registry.host}/app:1", credentials=Credentials(identity_token="refresh"))
    (asked,) = tokens.server.received
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh"],
        "client_id": ["kedge"],
        "service": ["test"],
        "scope": ["repository:app:pull"],
    }
    assert "refresh" not in asked.path


@pytest.mark.usefixtures("pushed")
def test_ready_token(registry: FakeRegistry, world: World, tokens: TokenService) -> None:
    world.pull(f"{registry.host}/app:1", credentials=Credentials(registry_token="good"))
    assert tokens.server.received == []


@pytest.mark.usefixtures("pushed")
def test_wrong_password_for_a_token(
    registry: FakeRegistry, world: World, tokens: TokenService
) -> None:
    tokens.wants = "Basic other"
    with pytest.raises(UnauthorizedError) as caught:
        world.pull(f"{registry.host}/app:1", credentials=ANN)
    assert "unauthorized: incorrect username or password" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert len(tokens.server.received) == 1


def test_no_access_in_dockers_words(
    registry: FakeRegistry, world: World, tokens: TokenService
) -> None:
    tokens.refuse_scope = True
    with pytest.raises(NotFoundError) as caught:
        world.pull(f"{registry.host}/app:1")
    assert str(caught.value) == (
        f"pull access denied for {registry.host}/app, repository does not exist or may require"
        " 'docker login': denied: requested access to the resource is denied"
    )


@pytest.mark.parametrize("grant", [{}, {"token": ""}, {"token": "a\r\nX-Evil: 1"}, {"token": 7}])
@pytest.mark.usefixtures("pushed")
def test_a_service_that_gives_no_token(
    registry: FakeRegistry, world: World, tokens: TokenService, grant: dict[str, str]
) -> None:
    tokens.grant = grant
    with pytest.raises(UnavailableError, match="answers without a token"):
        world.pull(f"{registry.host}/app:1")


@pytest.mark.usefixtures("pushed")
def test_a_token_that_never_helps(
    registry: FakeRegistry, world: World, tokens: TokenService
) -> None:
    tokens.grant = {"token": "useless"}
    with pytest.raises(KedgeError):
        world.pull(f"{registry.host}/app:1")
    assert len(tokens.server.received) <= 4


def test_an_expired_token_is_replaced(
    registry: FakeRegistry, world: World, tokens: TokenService, pushed: Pushed
) -> None:
    def expire(request: Received) -> Reply | None:
        if "/blobs/" in request.path and tokens.grant["token"] == "good":
            tokens.grant["token"] = "better"
        if request.authorization == "Bearer better":
            return registry_answer(request)
        return None

    guard = registry.rules.pop()

    def registry_answer(request: Received) -> Reply:
        rules, registry.rules = registry.rules, []
        try:
            return registry.reply(request)
        finally:
            registry.rules = rules

    def stale(request: Received) -> Reply | None:
        is_stale = request.authorization == "Bearer good" and tokens.grant["token"] != "good"
        return error(401, "UNAUTHORIZED", "expired") if is_stale else guard(request)

    def challenge(request: Received) -> Reply | None:
        reply = expire(request) or stale(request)
        if reply and reply.status == 401:
            reply.headers["WWW-Authenticate"] = (
                f'Bearer realm="{tokens.server.url}/token",error="invalid_token"'
            )
        return reply

    registry.rules.append(challenge)
    assert world.pull(f"{registry.host}/app:1").image.id == pushed.config
    assert tokens.query(-1)["scope"] == ["repository:app:pull"]


def require_basic(registry: FakeRegistry) -> None:
    def guard(request: Received) -> Reply | None:
        if request.authorization == BASIC or request.path == "/v2/":
            return None
        reply = error(401, "UNAUTHORIZED", "authentication required")
        reply.headers["WWW-Authenticate"] = 'Basic realm="test"'
        return reply

    registry.rules.append(guard)


@pytest.mark.usefixtures("pushed")
def test_basic_authentication(registry: FakeRegistry, world: World) -> None:
    require_basic(registry)
    assert world.pull(f"{registry.host}/app:1", credentials=ANN).was_new


@pytest.mark.usefixtures("pushed")
def test_basic_authentication_without_credentials(registry: FakeRegistry, world: World) -> None:
    require_basic(registry)
    with pytest.raises(UnauthorizedError) as caught:
        world.pull(f"{registry.host}/app:1")
    assert str(caught.value) == (
        f"registry {registry.host}: no basic auth credentials; log in to it first"
    )


@pytest.mark.usefixtures("pushed")
def test_basic_authentication_with_a_wrong_password(registry: FakeRegistry, world: World) -> None:
    require_basic(registry)
    wrong = Credentials(username="ann", password="wrong")
    with pytest.raises(UnauthorizedError) as caught:
        world.pull(f"{registry.host}/app:1", credentials=wrong)
    assert str(caught.value) == (
        f"cannot pull {registry.host}/app:1 from {registry.host}:"
        " unauthorized: authentication required"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_stay_at_home_on_a_redirect(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    world: World,
    pushed: Pushed,
    status: int,
) -> None:
    require_basic(registry)
    other_registry.blobs = dict(registry.blobs)

    def elsewhere(request: Received) -> Reply | None:
        if not request.authorization or pushed.layers[0] not in request.path:
            return None
        location = f"{other_registry.url}{request.path}"
        return Reply(status=status, headers={"Location": location})

    registry.rules.insert(0, elsewhere)
    result = world.pull(f"{registry.host}/app:1", credentials=ANN)
    assert world.file(result, "a") == b"a"
    (asked,) = other_registry.received
    assert pushed.layers[0] in asked.path
    assert asked.authorization == ""
    assert "s3cret" not in str(asked.headers)


def test_credentials_follow_a_redirect_on_the_same_host(
    registry: FakeRegistry, world: World, pushed: Pushed
) -> None:
    require_basic(registry)

    def moved(request: Received) -> Reply | None:
        if pushed.layers[0] not in request.path or "moved" in request.path:
            return None
        return Reply(status=307, headers={"Location": f"/v2/moved/blobs/{pushed.layers[0]}"})

    registry.rules.append(moved)
    assert world.pull(f"{registry.host}/app:1", credentials=ANN).was_new


def test_the_host_behind_a_redirect_cannot_ask_for_credentials(
    registry: FakeRegistry, other_registry: FakeRegistry, world: World, pushed: Pushed
) -> None:
    require_basic(other_registry)

    def elsewhere(request: Received) -> Reply | None:
        if pushed.layers[0] not in request.path:
            return None
        location = f"{other_registry.url}{request.path}"
        return Reply(status=307, headers={"Location": location})

    registry.rules.append(elsewhere)
    with pytest.raises(KedgeError):
        world.pull(f"{registry.host}/app:1", credentials=ANN)
    assert {request.authorization for request in other_registry.received} == {""}


def test_redirects_in_a_circle(registry: FakeRegistry, world: World) -> None:
    registry.rules.append(
        lambda r: Reply(status=302, headers={"Location": r.path}) if r.path != "/v2/" else None
    )
    with pytest.raises(UnavailableError, match="redirects in a circle"):
        world.pull(f"{registry.host}/app:1")


def test_a_redirect_to_a_file(registry: FakeRegistry, world: World) -> None:
    registry.rules.append(
        lambda r: (
            Reply(status=302, headers={"Location": "file:///etc/shadow"})
            if r.path != "/v2/"
            else None
        )
    )
    with pytest.raises(UnavailableError, match="redirects to file"):
        world.pull(f"{registry.host}/app:1")


class TlsServer:
    """A TLS server on loopback with a certificate of its own authority."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "cert.pem"
        key = directory / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        command += ["ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        command += ["-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.location = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(302 if outer.location else 200)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Say nothing: clients refuse the certificate here."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self.thread.start()
        self.url = f"https://localhost:{self.server.server_address[1]}/"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[TlsServer]:
    if shutil.which("openssl") is None:
        pytest.skip("making a certificate needs openssl")
    server = TlsServer(tmp_path)
    yield server
    server.close()


@pytest.fixture
def transport() -> Iterator[Transport]:
    opened = Transport(timeouts=Timeouts(5, 5), environ={})
    yield opened
    opened.close()


def test_a_strange_certificate_is_refused_by_name(tls: TlsServer, transport: Transport) -> None:
    with pytest.raises(ConnectionFailedError) as caught:
        transport.send("GET", tls.url, {})
    address = urlsplit(tls.url).netloc
    assert str(caught.value).startswith(f"cannot trust registry {address}: self")
    assert not caught.value.may_retry


def test_the_hosts_own_authorities_are_trusted(
    tls: TlsServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.certificate))
    with transport.send("GET", tls.url, {}) as answer:
        assert answer.read(10) == b"ok"


def test_insecure_registries_may_show_any_certificate(tls: TlsServer, transport: Transport) -> None:
    with transport.send("GET", tls.url, {}, trust=Trust(verify=False)) as answer:
        assert answer.status == 200


def test_no_way_from_https_to_http(
    tls: TlsServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.certificate))
    tls.location = "http://127.0.0.1:1/"
    with pytest.raises(UnavailableError, match="redirects from https to http"):
        transport.send("GET", tls.url, {})


def test_http_where_https_is_expected(registry: FakeRegistry, transport: Transport) -> None:
    with pytest.raises(ConnectionFailedError, match="server gave HTTP response to HTTPS client"):
        transport.send("GET", f"https://{registry.host}/v2/", {})


def test_a_proxy_is_used(registry: FakeRegistry, other_registry: FakeRegistry) -> None:
    other_registry.rules.append(lambda _: Reply(body=b"from the proxy"))
    proxy = other_registry.url.replace("http://", "http://user:pass@")
    transport = Transport(environ={"http_proxy": proxy})
    with transport.send("GET", "http://registry.example/v2/", {}) as answer:
        assert answer.read(100) == b"from the proxy"
    with transport.send("GET", f"{registry.url}/v2/", {}) as answer:
        assert answer.read(100) == b"{}"
    transport.close()
    (through,) = other_registry.received
    assert through.path == "http://registry.example/v2/"
    expected = "Basic " + base64.b64encode(b"user:pass").decode()
    assert through.headers["proxy-authorization"] == expected


def test_a_proxy_that_is_down_is_named() -> None:
    transport = Transport(environ={"http_proxy": "http://127.0.0.1:1"})
    with pytest.raises(ConnectionFailedError) as caught:
        transport.send("GET", "http://registry.example/v2/", {})
    transport.close()
    assert str(caught.value) == (
        "cannot reach registry registry.example:80 through proxy 127.0.0.1:1: connection refused"
    )
