"""Who may push and log in, which scopes are asked for, and where credentials never go."""

import base64
import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from kedge.distribution.credentials import Credentials
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.registry import RegistryInspector
from kedge.errdefs import ForbiddenError, NotFoundError, UnauthorizedError, UnavailableError
from kedge.oci.platforms import host_platform
from kedge.oci.references import parse_reference
from tests.integration.pull_faults.conftest import FakeRegistry, Received, Reply, error, noise
from tests.integration.push_faults.conftest import METHOD, PushWorld, WritableRegistry

pytestmark = pytest.mark.integration

ANN = Credentials(username="ann", password="s3cret")
BASIC = "Basic " + base64.b64encode(b"ann:s3cret").decode()


class Tokens:
    """A token service that gives each token for its scopes and a number of uses."""

    def __init__(self, registry: WritableRegistry, server: FakeRegistry) -> None:
        self.server = server
        self.scopes: dict[str, str] = {}
        self.uses = 1000
        self.left: dict[str, int] = {}
        self.denied = False
        self.refresh = ""
        registry.rules.append(self.guard)
        server.rules.append(self.grant)

    def guard(self, request: Received) -> Reply | None:
        token = request.authorization.removeprefix("Bearer ")
        if self.left.get(token, 0) > 0 and not self.denied:
            self.left[token] -= 1
            return None
        name = request.path.removeprefix("/v2/").partition("/blobs")[0].partition("/manifests")[0]
        actions = "pull" if request.headers[METHOD] in {"GET", "HEAD"} else "pull,push"
        challenge = f'Bearer realm="{self.server.url}/token",service="test"'
        if name:
            challenge += f',scope="repository:{name}:{actions}"'
        if self.denied and token in self.left:
            challenge += ',error="insufficient_scope"'
        return error(
            401, "UNAUTHORIZED", "authentication required", **{"WWW-Authenticate": challenge}
        )

    def grant(self, request: Received) -> Reply:
        if request.headers.get("content-type") == "application/x-www-form-urlencoded":
            query = parse_qs(request.body.decode())
            if query["refresh_token"] != ["refresh"]:
                return error(401, "UNAUTHORIZED", "identity token expired")
        else:
            query = parse_qs(urlsplit(request.path).query)
            if request.authorization != BASIC:
                return error(401, "UNAUTHORIZED", "incorrect username or password")
        token = f"token-{len(self.left)}"
        self.left[token] = self.uses
        self.scopes[token] = " ".join(query.get("scope", []))
        answer = {"token": token}
        if self.refresh and "offline_token" in query:
            answer["refresh_token"] = self.refresh
        return Reply(body=json.dumps(answer).encode())


@pytest.fixture
def service() -> Iterator[WritableRegistry]:
    server = WritableRegistry()
    yield server
    server.close()


@pytest.fixture
def tokens(target: WritableRegistry, service: WritableRegistry) -> Tokens:
    return Tokens(target, service)


@pytest.fixture
def inspector() -> Iterator[RegistryInspector]:
    opened = RegistryInspector(RegistrySettings(max_attempts=1))
    yield opened
    opened.close()


@pytest.fixture
def image(source: FakeRegistry, target: WritableRegistry, world: PushWorld) -> str:
    source.push("app", "1", {"a": noise(3 << 20)})
    world.take(f"{source.host}/app:1", f"{target.host}/one/app:1", f"{target.host}/two/app:1")
    return f"{target.host}/one/app:1"


def test_scopes(target: WritableRegistry, world: PushWorld, tokens: Tokens, image: str) -> None:
    world.push(image, credentials=ANN)
    assert any("repository:one/app:pull,push" in scope for scope in tokens.scopes.values())
    world.push(f"{target.host}/two/app:1", credentials=ANN)
    # Mounting needs leave to read the other repository.
    assert any("repository:one/app:pull" in s.split() for s in list(tokens.scopes.values())[-2:])
    assert any(event.status == "Mounted from one/app" for event in world.events)


def test_a_token_that_expires_on_the_way(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld, tokens: Tokens, image: str
) -> None:
    tokens.uses = 3
    world.push(image, credentials=ANN)
    assert len(tokens.left) > 1
    assert target.blobs == source.blobs


def test_a_refresh_token(world: PushWorld, tokens: Tokens, image: str) -> None:
    world.push(image, credentials=Credentials(identity_token="refresh"))
    assert tokens.left
    with pytest.raises(UnauthorizedError, match="identity token expired"):
        world.push(image, credentials=Credentials(identity_token="stale-refresh"))


def test_denied(target: WritableRegistry, world: PushWorld, tokens: Tokens, image: str) -> None:
    tokens.denied = True
    with pytest.raises(ForbiddenError) as caught:
        world.push(image, credentials=ANN)
    assert str(caught.value).startswith("denied: requested access to the resource is denied")
    assert "s3cret" not in str(caught.value)
    assert target.manifests == {}


@pytest.mark.usefixtures("tokens")
def test_wrong_password(world: PushWorld, image: str) -> None:
    with pytest.raises(UnauthorizedError, match="incorrect username or password") as caught:
        world.push(image, credentials=Credentials(username="ann", password="wr0ng"))
    assert "wr0ng" not in str(caught.value)


def test_an_upload_elsewhere_gets_no_credentials(
    target: WritableRegistry, world: PushWorld, service: WritableRegistry, image: str
) -> None:
    def guard(request: Received) -> Reply | None:
        if request.authorization != BASIC:
            return error(401, "UNAUTHORIZED", "who?", **{"WWW-Authenticate": 'Basic realm="x"'})
        if request.headers[METHOD] == "POST":
            return Reply(status=202, headers={"Location": f"{service.url}/store/1?sig=abc"})
        return None

    target.rules.append(guard)
    service.rules.append(lambda _request: error(403, "DENIED", "not here"))
    with pytest.raises(ForbiddenError, match="not here"):
        world.push(image, credentials=ANN)
    assert service.received
    assert {request.authorization for request in service.received} == {""}


def test_login_with_a_token_service(
    target: WritableRegistry, tokens: Tokens, inspector: RegistryInspector
) -> None:
    assert inspector.login(f"https://{target.host}/v1/", ANN) == ""
    tokens.refresh = "refresh"
    assert inspector.login(target.host, ANN) == "refresh"
    assert inspector.login(target.host, Credentials(identity_token="refresh")) == ""
    with pytest.raises(UnauthorizedError, match="incorrect username or password") as caught:
        inspector.login(target.host, Credentials(username="ann", password="wr0ng"))
    assert "wr0ng" not in str(caught.value)


def test_login_with_basic_authentication(
    target: WritableRegistry, inspector: RegistryInspector
) -> None:
    def guard(request: Received) -> Reply | None:
        if request.authorization == BASIC:
            return None
        return error(401, "UNAUTHORIZED", "wrong word", **{"WWW-Authenticate": 'Basic realm="x"'})

    target.rules.append(guard)
    assert inspector.login(target.host, ANN) == ""
    with pytest.raises(UnauthorizedError) as caught:
        inspector.login(target.host, Credentials(username="ann", password="wr0ng"))
    assert str(caught.value) == (
        f"login attempt to http://{target.host}/v2/ failed with status: 401:"
        " unauthorized: wrong word"
    )


def test_login_to_what_is_no_registry(
    target: WritableRegistry, inspector: RegistryInspector
) -> None:
    target.rules.append(lambda _request: Reply(status=404))
    with pytest.raises(UnavailableError, match="404"):
        inspector.login(target.host, ANN)


def test_remote_inspect(source: FakeRegistry, inspector: RegistryInspector) -> None:
    pushed = source.push("app", "1", {"a": b"a"})

    found = inspector.inspect(parse_reference(f"{source.host}/app:1"))
    assert found.digest == pushed.manifest
    assert [p[:2] for p in found.platforms] == [host_platform()[:2]]
    with pytest.raises(NotFoundError, match="manifest unknown"):
        inspector.inspect(parse_reference(f"{source.host}/app:9"))
