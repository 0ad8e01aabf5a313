"""Engines elsewhere: through ssh, and behind TLS."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kedge.cli.remotes import dialled, ssh_command
from kedge.client.hosts import Host, TlsChoice, parse_host
from kedge.client.http import EngineClient
from kedge.errdefs import NotFoundError, UnavailableError
from tests.engine import Engine, running_engine

if TYPE_CHECKING:
    from kedge.lib.jsontypes import JsonObject

pytestmark = pytest.mark.integration


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare_engine: Engine) -> Path:
    """An ssh that runs the command here, and notes what it was called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    note = tmp_path / "called"
    (folder / "ssh").write_text(
        f'#!/bin/sh\necho "$@" > {note}\nwhile [ "$1" != -- ]; do shift; done\nshift 3\n'
        f"exec {sys.executable} -c 'from kedge.cli.main import main; main()' "
        f'-H {bare_engine.host} "$@"\n'
    )
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return note


def test_ssh_carries_requests_and_streams(bare_engine: Engine, ssh: Path) -> None:
    done = bare_engine.kedge("-H", "ssh://me@box:2222", "info", "-f", "{{.Containers}}")
    assert done.stdout == "0\n"
    assert ssh.read_text().split() == [
        "-o", "ConnectTimeout=30", "-T", "-l", "me", "-p", "2222", "--", "box", "kedge", "system",
        "dial-stdio",
    ]  # fmt: skip


def test_an_image_goes_to_another_engine_without_what_that_has(engine: Engine, ssh: Path) -> None:
    ssh_host = "ssh://me@box"
    with running_engine() as other:
        script = ssh.with_name("bin") / "ssh"
        script.write_text(script.read_text().replace(engine.host, other.host))
        engine.build("FROM busybox\nRUN echo one > /one\n", "app:1")
        engine.build("FROM app:1\nRUN echo two > /two\n", "app:2")
        first = engine.kedge("push", "app:1", ssh_host).stdout
        assert first.startswith("3 of 3 layers to send, ")
        assert first.endswith("Loaded image: app:1\n")
        second = engine.kedge("push", "app:2", ssh_host).stdout
        assert second.startswith("1 of 4 layers to send, ")
        assert other.kedge("run", "--rm", "app:2", "cat", "/one", "/two").stdout == "one\ntwo\n"
        other.kedge("tag", "app:2", "back:2")
        back = engine.kedge("pull", "back:2", ssh_host).stdout
        assert back == f"0 of 4 layers to send, 0B of {back.split()[-4]}\nLoaded image: back:2\n"
        ids = {e.kedge("images", "-q", "--no-trunc", "app:2").stdout for e in (engine, other)}
        assert len(ids) == 1
        absent = engine.kedge("push", "none:1", ssh_host, check=False)
        assert absent.stderr == "kedge: No such image: none:1\n"


def test_layers_are_listed_and_compared(engine: Engine) -> None:
    with closing(engine.client()) as client:
        layer, *_ = client.get("/images/busybox/layers").objects()
        digest, absent = str(layer["Digest"]), f"sha256:{'0' * 64}"
        asked: JsonObject = {"Digests": [absent, digest, "nonsense"]}
        answer = client.post("/images/layers/missing", document=asked).object()
        assert answer == {"Digests": [absent, "nonsense"]}
        with pytest.raises(NotFoundError, match="No such image: none"):
            client.get("/images/none/layers")


def test_the_other_side_may_have_a_socket_of_its_own() -> None:
    assert ssh_command(parse_host("ssh://box/run/x.sock"))[-6:] == [
        "box", "kedge", "-H", "unix:///run/x.sock", "system", "dial-stdio",
    ]  # fmt: skip


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    return tmp_path


@pytest.fixture
def echo_port(certificate: Path) -> Iterator[int]:
    """A TLS server that answers, once its client has said it is done, with what that sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            raw, _ = listener.accept()
            with context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False) as tls:
                received = b""
                while data := tls.recv(65536):
                    received += data
                tls.sendall(received[::-1])
        except OSError:
            # A client that does not trust us hangs up.
            return

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()
    thread.join()


def test_tls_keeps_talking_after_one_half_is_closed(certificate: Path, echo_port: int) -> None:
    choice = TlsChoice(verify=True, ca=str(certificate / "cert.pem"))
    host = dialled(Host(name="localhost", port=echo_port), choice)
    connection = EngineClient(host).take_connection()
    data = bytes(range(256)) * 2000
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    received = b""
    while piece := connection.recv(65536):
        received += piece
    connection.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(timeout=60)
    assert received == data[::-1]


def test_a_certificate_nobody_trusts_is_refused(echo_port: int) -> None:
    host = dialled(Host(name="localhost", port=echo_port), TlsChoice(verify=True))
    with pytest.raises(UnavailableError, match="no TLS connection to tcp://localhost"):
        EngineClient(host).get("/_ping")
