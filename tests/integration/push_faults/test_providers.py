"""The ways in of well-known registries, each a fake on loopback that behaves as documented.

Each sends blobs from another host by a redirect, as their stores do, and that host refuses whoever
shows it credentials.
"""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from kedge.distribution.credentials import Credentials, parse_registry_auth
from kedge.distribution.endpoints import RegistrySettings
from kedge.errdefs import ForbiddenError, KedgeError, UnauthorizedError, UnavailableError
from tests.integration.pull_faults.conftest import FakeRegistry, Received, Reply, error, noise
from tests.integration.push_faults.conftest import METHOD, PushWorld, WritableRegistry

pytestmark = pytest.mark.integration

FILE = {"a": noise(100_000)}
NO_USER = "00000000-0000-0000-0000-000000000000"
GOOGLE_KEY = json.dumps({"type": "service_account", "private_key": "-----BEGIN\nx:y\n"}, indent=1)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Service:
    """The token service of one registry; what it is asked is kept."""

    def __init__(self, *, realm: str, name: str, path: str) -> None:
        self.realm, self.name, self.path = realm, name, path
        self.asked: list[dict[str, list[str]]] = []
        self.granted: dict[str, set[str]] = {}
        self.may: Callable[[Received, dict[str, list[str]]], set[str]] = lambda _r, _f: set()
        """What whoever asks may do; nothing for nobody."""

    def guard(self, request: Received) -> Reply | None:
        """Answer the token service's own requests, and refuse what has no token for it."""
        if urlsplit(request.path).path == self.path:
            return self.grant(request)
        token = request.authorization.removeprefix("Bearer ")
        if request.path == "/v2/":
            repository = ""
        else:
            name = request.path.removeprefix("/v2/")
            repository = name.partition("/blobs/")[0].partition("/manifests/")[0]
        action = "pull" if request.headers.get(METHOD) in {"GET", "HEAD"} else "push"
        needed = f"{repository}:{action}"
        if token in self.granted and (not repository or needed in self.granted[token]):
            return None
        wanted = "pull" if action == "pull" else "pull,push"
        challenge = f'Bearer realm="{self.realm}",service="{self.name}"'
        if repository:
            challenge += f',scope="repository:{repository}:{wanted}"'
        return error(
            401, "UNAUTHORIZED", "authentication required", **{"WWW-Authenticate": challenge}
        )

    def grant(self, request: Received) -> Reply:
        fields = parse_qs(urlsplit(request.path).query or request.body.decode())
        self.asked.append(fields)
        allowed = self.may(request, fields)
        if not allowed:
            return error(401, "UNAUTHORIZED", "authentication required")
        token = f"token{len(self.granted)}"
        self.granted[token] = set()
        for scope in " ".join(fields.get("scope", [])).split():
            name, _, actions = scope.removeprefix("repository:").rpartition(":")
            self.granted[token] |= {f"{name}:{a}" for a in actions.split(",") if a in allowed}
        return Reply(body=json.dumps({"access_token": token, "expires_in": 300}).encode())


@pytest.fixture
def store() -> Iterator[FakeRegistry]:
    """Where blobs really are: refuses two ways to authenticate at once, as S3 and Azure do."""
    server = FakeRegistry()

    def signed_only(request: Received) -> Reply | None:
        if request.authorization:
            return Reply(status=400, body=b"Only one auth mechanism allowed")
        return None if "sig=" in request.path else Reply(status=403, body=b"AccessDenied")

    server.rules.append(signed_only)
    yield server
    server.close()


def redirect_blobs(target: WritableRegistry, store: FakeRegistry, status: int) -> None:
    """Let a registry's blobs come from ``store``."""

    def elsewhere(request: Received) -> Reply | None:
        digest = request.path.rpartition("/")[2]
        if request.headers[METHOD] != "GET" or digest not in target.blobs:
            return None
        store.blobs = target.blobs
        return Reply(
            status=status, headers={"Location": f"{store.url}/v2/bucket/blobs/{digest}?sig=abc"}
        )

    target.rules.append(elsewhere)


def there_and_back(
    world: PushWorld, source: FakeRegistry, name: str, credentials: Credentials
) -> None:
    """Push an image, forget everything, and pull it."""
    source.push("app", "1", FILE)
    world.take(f"{source.host}/app:1", name)
    (pushed,) = world.push(name, credentials=credentials)
    world.root = world.root.with_name("another")
    world.open(world.settings)
    pulled = world.pull(name, credentials=credentials)
    assert pulled.digest == pushed.digest
    assert world.file(pulled, "a") == FILE["a"]


def basic_guard(wanted: str, refusal: Callable[[], Reply]) -> Callable[[Received], Reply | None]:
    return lambda request: None if request.authorization == wanted else refusal()


def test_docker_hub(
    world: PushWorld,
    source: FakeRegistry,
    target: WritableRegistry,
    store: FakeRegistry,
    tmp_path: Path,
) -> None:
    hub = tmp_path / "certs/docker.io"
    hub.mkdir(parents=True)
    (hub / "hosts.toml").write_text(f'server = "{target.url}"\n')
    world.open(RegistrySettings(max_attempts=2, certs_directories=(str(tmp_path / "certs"),)))
    service = Service(realm=f"{target.url}/token", name="registry.docker.io", path="/token")
    ann = basic("ann", "dckr_pat_s3cret")

    def may(request: Received, _fields: dict[str, list[str]]) -> set[str]:
        if not request.authorization:
            return {"pull"}
        return {"pull", "push"} if request.authorization == ann else set()

    service.may = may
    target.rules.append(service.guard)
    redirect_blobs(target, store, 307)
    # The client keeps the login under this key; the engine is given what is in it.
    header = {"username": "ann", "password": "dckr_pat_s3cret"}
    header["serveraddress"] = "https://index.docker.io/v1/"
    told = parse_registry_auth(base64.urlsafe_b64encode(json.dumps(header).encode()).decode())
    there_and_back(world, source, "ann/app:1", told)
    assert {field for asked in service.asked for field in asked["service"]} == {
        "registry.docker.io"
    }
    # A short name is below library/, and anybody may pull.
    source.push("official", "1", FILE)
    asked = len(service.asked)
    for path in ("library/busybox", "busybox"):
        target.repositories.setdefault(path, set()).update(source.blobs)
    target.blobs |= source.blobs
    target.put_manifest("library/busybox", "latest", *source.manifests["official/1"])
    assert world.pull("busybox").was_new
    assert service.asked[asked]["scope"] == ["repository:library/busybox:pull"]
    assert "account" not in service.asked[asked]
    with pytest.raises(UnauthorizedError, match="authentication required"):
        world.pull("busybox", credentials=Credentials(username="ann", password="wrong"))
    limit = error(429, "TOOMANYREQUESTS", "You have reached your unauthenticated pull rate limit")
    limit.headers |= {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"}
    limit.headers["Retry-After"] = "3600"
    target.rules.insert(0, lambda request: limit if "/manifests/" in request.path else None)
    with pytest.raises(UnavailableError, match=r"rate limit: 100 requests in 6 h, 0 left"):
        world.pull("busybox")


def test_github(
    world: PushWorld, source: FakeRegistry, target: WritableRegistry, store: FakeRegistry
) -> None:
    service = Service(realm=f"{target.url}/token", name="ghcr.io", path="/token")
    good = basic("ann", "ghp_s3cret")
    service.may = lambda request, _fields: (
        {"pull", "push"} if request.authorization == good else set()
    )
    target.rules.append(service.guard)
    redirect_blobs(target, store, 307)
    ann = Credentials(username="ann", password="ghp_s3cret")
    there_and_back(world, source, f"{target.host}/ann/app:1", ann)
    assert any(asked["scope"] == ["repository:ann/app:pull,push"] for asked in service.asked)
    assert good not in {r.authorization for r in target.asked("GET", "/v2/")}


def test_github_without_leave_to_write_packages(
    world: PushWorld, source: FakeRegistry, target: WritableRegistry
) -> None:
    source.push("app", "1", FILE)
    name = f"{target.host}/ann/app:1"
    world.take(f"{source.host}/app:1", name)

    def deny(request: Received) -> Reply | None:
        if request.headers[METHOD] in {"GET", "HEAD"}:
            return None
        text = "permission_denied: The token provided does not match expected scopes."
        return error(403, "DENIED", text)

    target.rules.append(deny)
    with pytest.raises(ForbiddenError) as caught:
        world.push(name, credentials=Credentials(username="ann", password="ghp_s3cret"))
    assert "The token provided does not match expected scopes." in str(caught.value)
    assert "ghp_s3cret" not in str(caught.value)


def test_amazon(
    world: PushWorld, source: FakeRegistry, target: WritableRegistry, store: FakeRegistry
) -> None:
    # No token service, no mounts; the password of 12 hours is longer than any header of others.
    password = base64.b64encode(noise(1700)).decode()
    challenge = 'Basic realm="https://1234.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.aws"'

    def refuse() -> Reply:
        return Reply(status=401, body=b"Not Authorized\n", headers={"WWW-Authenticate": challenge})

    target.mounts = False
    target.rules.append(basic_guard(basic("AWS", password), refuse))
    redirect_blobs(target, store, 307)
    aws = Credentials(username="AWS", password=password)
    there_and_back(world, source, f"{target.host}/team/app:1", aws)
    expired = "Your authorization token has expired. Reauthenticate and try again."
    target.rules.insert(0, lambda _request: error(403, "DENIED", expired))
    with pytest.raises(KedgeError) as caught:
        world.push(f"{target.host}/team/app:1", credentials=aws)
    assert expired in str(caught.value)
    assert password not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "password"), [("_json_key", GOOGLE_KEY), ("oauth2accesstoken", "ya29.s3cret")]
)
def test_google(
    world: PushWorld,
    source: FakeRegistry,
    target: WritableRegistry,
    store: FakeRegistry,
    user: str,
    password: str,
) -> None:
    service = Service(realm=f"{target.url}/v2/token", name=target.host, path="/v2/token")
    wanted = basic(user, password)
    service.may = lambda request, _fields: (
        {"pull", "push"} if request.authorization == wanted else set()
    )
    target.rules.append(service.guard)
    redirect_blobs(target, store, 302)
    who = Credentials(username=user, password=password)
    there_and_back(world, source, f"{target.host}/project/repository/app:1", who)
    assert service.asked
    assert service.asked[0]["account"] == [user]


def test_azure(
    world: PushWorld, source: FakeRegistry, target: WritableRegistry, store: FakeRegistry
) -> None:
    service = Service(realm=f"{target.url}/oauth2/token", name=target.host, path="/oauth2/token")

    def may(request: Received, fields: dict[str, list[str]]) -> set[str]:
        is_good = fields.get("refresh_token") == ["refresh-s3cret"]
        is_asked_well = fields.get("grant_type") == ["refresh_token"] and not request.authorization
        return {"pull", "push"} if is_good and is_asked_well else set()

    service.may = may
    target.rules.append(service.guard)
    redirect_blobs(target, store, 307)
    # As `az acr login` leaves it: nobody's name, and the refresh token it exchanged its own for.
    az = Credentials(username=NO_USER, identity_token="refresh-s3cret")
    there_and_back(world, source, f"{target.host}/app:1", az)
    assert {tuple(asked["service"]) for asked in service.asked} == {(target.host,)}
    for server in (target, store):
        assert not [r.path for r in server.received if "s3cret" in r.path]
    stale = Credentials(username=NO_USER, identity_token="stale-s3cret")
    with pytest.raises(UnauthorizedError) as caught:
        world.push(f"{target.host}/app:1", credentials=stale)
    assert "s3cret" not in str(caught.value)
