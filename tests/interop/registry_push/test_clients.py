"""docker, docker-py, kedge and skopeo around one engine and Debian's docker-registry with TLS.

The registry demands a client certificate and a password, and listens on an address that is not
loopback, because loopback needs no valid certificate.
"""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tests.engine import BUSYBOX, DOCKER, Engine, busybox_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

pytestmark = [pytest.mark.interop, pytest.mark.integration]

# htpasswd -Bbn ann s3cret
HTPASSWD = "ann:$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"
TOOLS = ("docker-registry", "skopeo", "openssl")


def own_address() -> str:
    """Return an address of this host that is not loopback, without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this host has no address but loopback")
        return str(probe.getsockname()[0])


class TlsRegistry:
    """One docker-registry with certificates of its own."""

    def __init__(self, root: Path) -> None:
        address = own_address()
        with socket.create_server((address, 0)) as probe:
            self.host = f"{address}:{probe.getsockname()[1]}"
        self.ca, self.client = root / "ca.crt", root / "client"
        self._authority(root)
        server = self._certificate(root, "server", f"subjectAltName=IP:{address}")
        self._certificate(root, "client", "extendedKeyUsage=clientAuth")
        (root / "htpasswd").write_text(HTPASSWD)
        config = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(root / "data")}},
            "auth": {"htpasswd": {"realm": "test", "path": str(root / "htpasswd")}},
            "http": {
                "addr": self.host,
                "tls": {
                    "certificate": f"{server}.cert",
                    "key": f"{server}.key",
                    "clientcas": [str(self.ca)],
                },
            },
        }
        (root / "config.yml").write_text(json.dumps(config))
        self._log = (root / "log").open("wb")
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(root / "config.yml")],
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                host, _, port = self.host.partition(":")
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError:
                assert self._process.poll() is None, (root / "log").read_text()
                assert time.monotonic() < deadline, (root / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()

    def _authority(self, root: Path) -> None:
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        command += [
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test authority",
        ]
        command += ["-keyout", str(root / "ca.key"), "-out", str(self.ca)]
        subprocess.run(command, check=True, capture_output=True)

    def _certificate(self, root: Path, name: str, extension: str) -> Path:
        path = root / name
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        command += ["ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        command += ["-addext", extension, "-addext", "basicConstraints=critical,CA:FALSE"]
        command += ["-CA", str(self.ca), "-CAkey", str(root / "ca.key")]
        command += ["-keyout", f"{path}.key", "-out", f"{path}.cert"]
        subprocess.run(command, check=True, capture_output=True)
        return path

    def skopeo(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run skopeo with the client's certificates, outside any proxy."""
        host = self.host.partition(":")[0]
        return subprocess.run(
            ["skopeo", *words],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "no_proxy": host, "NO_PROXY": host},
        )

    def digest(self, name: str, certificates: Path) -> str:
        """Return what skopeo sees under a name."""
        done = self.skopeo(
            "inspect", "--raw", "--creds", "ann:s3cret", "--cert-dir", str(certificates),
            f"docker://{self.host}/{name}",
        )  # fmt: skip

        return f"sha256:{hashlib.sha256(done.stdout.encode()).hexdigest()}"


class Site:
    """An engine with one image and a registry it does not trust yet."""

    def __init__(self, root: Path) -> None:
        (root / "registry").mkdir()
        self.registry = TlsRegistry(root / "registry")
        self.certificates = root / "certs" / self.registry.host
        address = self.registry.host.partition(":")[0]
        self.engine = Engine(root, "--certs-dir", str(root / "certs"), "--no-proxy", address)
        self.engine.start()

    def trust(self) -> None:
        """Let the engine trust the registry and show its own certificate."""
        self.certificates.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.registry.ca, self.certificates / "ca.crt")
        for extension in ("cert", "key"):
            shutil.copy(f"{self.registry.client}.{extension}", self.certificates)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or DOCKER is None or BUSYBOX is None:
        pytest.skip(f"not installed: {', '.join(missing) or 'docker or busybox'}")
    with tempfile.TemporaryDirectory(prefix="e-") as root, contextlib.ExitStack() as stack:
        made = Site(Path(root))
        stack.callback(made.registry.close)
        stack.callback(made.engine.stop)
        made.engine.build_tar(busybox_context(), "busybox")
        yield made


def test_certificates_are_read_at_each_request(site: Site) -> None:
    engine, host = site.engine, site.registry.host
    engine.docker("tag", "busybox", f"{host}/tls/app:1")
    failed = engine.docker("push", f"{host}/tls/app:1", check=False)
    assert failed.returncode == 1
    assert f"cannot trust registry {host}: " in failed.stderr
    assert "certificate" in failed.stderr
    site.certificates.mkdir(parents=True, exist_ok=True)
    shutil.copy(site.registry.ca, site.certificates / "ca.crt")
    failed = engine.docker("push", f"{host}/tls/app:1", check=False)
    assert "put a client certificate and its key into certs.d" in failed.stderr
    shutil.copy(f"{site.registry.client}.cert", site.certificates)
    failed = engine.docker("push", f"{host}/tls/app:1", check=False)
    assert "missing key client.key for client certificate" in failed.stderr
    shutil.copy(f"{site.registry.client}.key", site.certificates)
    failed = engine.docker("push", f"{host}/tls/app:1", check=False)
    assert "no basic auth credentials" in failed.stderr


def test_docker(site: Site) -> None:
    site.trust()
    engine, host = site.engine, site.registry.host
    name = f"{host}/docker/app:1"
    engine.docker("tag", "busybox", name)
    failed = engine.docker("login", "-u", "ann", "-p", "wrong", host, check=False)
    assert failed.returncode == 1
    assert "401" in failed.stderr
    assert "unauthorized" in failed.stderr
    done = engine.docker("login", "-u", "ann", "--password-stdin", host, text="s3cret")
    assert "Login Succeeded" in done.stdout
    pushed = engine.docker("push", name)
    assert f"The push refers to repository [{host}/docker/app]" in pushed.stdout
    assert ": Pushed" in pushed.stdout
    digest = pushed.stdout.rpartition("digest: ")[2].split()[0]
    assert digest == site.registry.digest("docker/app:1", site.certificates)
    assert ": Layer already exists" in engine.docker("push", name).stdout
    engine.docker("tag", "busybox", f"{host}/docker/other:1")
    mounted = engine.docker("push", f"{host}/docker/other:1").stdout
    assert ": Mounted from docker/app" in mounted
    engine.docker("rmi", "-f", name, f"{host}/docker/other:1")
    assert f"Digest: {digest}" in engine.docker("pull", name).stdout
    inspected = json.loads(engine.docker("manifest", "inspect", name, check=False).stdout or "{}")
    assert inspected == {} or inspected["config"]
    engine.docker("logout", host)
    denied = engine.docker("pull", name, check=False)
    assert "no basic auth credentials" in denied.stderr
    assert "s3cret" not in engine.log.read_text()


def test_kedge(site: Site) -> None:
    site.trust()
    engine, host = site.engine, site.registry.host
    name = f"{host}/kedge/app:1"
    engine.kedge("tag", "busybox", name)
    failed = engine.kedge("login", "-u", "ann", "-p", "wr0ng", host, check=False)
    assert failed.returncode == 1
    assert "unauthorized" in failed.stderr
    assert "wr0ng" not in failed.stderr
    assert engine.kedge("login", host, check=False).returncode == 1
    done = engine.kedge("login", "-u", "ann", "--password-stdin", host, text="s3cret\n")
    assert done.stdout == "Login Succeeded\n"
    assert "stored unencrypted" in done.stderr
    file = engine.root / "docker/config.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert engine.kedge("push", "-q", name).stdout == f"{name}\n"
    engine.build(f"FROM {name}\nRUN echo hello > /hello\n", f"{host}/kedge/built:1")
    engine.docker("push", f"{host}/kedge/built:1")
    engine.kedge("rmi", "-f", name, f"{host}/kedge/built:1")
    context = engine.root / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {host}/kedge/built:1\nRUN test -e /hello\n")
    # The base image needs the login that the client sends with the build.
    engine.kedge("build", str(context))
    engine.kedge("logout", host)
    assert json.loads(file.read_text())["auths"] == {}
    assert "no basic auth credentials" in engine.kedge("push", name, check=False).stderr + (
        engine.kedge("pull", name, check=False).stderr
    )


def test_docker_py(site: Site) -> None:
    docker = pytest.importorskip("docker")
    site.trust()
    host = site.registry.host
    auth = {"username": "ann", "password": "s3cret"}
    client = docker.DockerClient(base_url=site.engine.host)
    with contextlib.closing(client):
        assert client.login(**auth, registry=host)["Status"] == "Login Succeeded"
        with pytest.raises(docker.errors.APIError, match="unauthorized"):
            client.login("ann", "wr0ng", registry=host, reauth=True)
        client.images.get("busybox").tag(f"{host}/py/app", tag="1")
        lines = cast(
            "Iterable[Mapping[str, object]]",
            client.images.push(
                f"{host}/py/app", tag="1", auth_config=auth, stream=True, decode=True
            ),
        )
        aux = [cast("Mapping[str, object]", line["aux"]) for line in lines if "aux" in line]
        digest = site.registry.digest("py/app:1", site.certificates)
        assert [(item["Tag"], item["Digest"]) for item in aux] == [("1", digest)]
        client.images.remove(f"{host}/py/app:1", force=True)
        image = client.images.pull(f"{host}/py/app", tag="1", auth_config=auth)
        assert f"{host}/py/app@{digest}" in image.attrs["RepoDigests"]
        found = client.images.get_registry_data(f"{host}/py/app:1", auth_config=auth)
        assert found.id == digest
        assert found.has_platform("linux/amd64") or found.attrs["Platforms"]
