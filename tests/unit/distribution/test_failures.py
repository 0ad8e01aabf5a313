import errno
import json
import socket
import ssl

import pytest
import urllib3.exceptions
from urllib3.connection import HTTPConnection

from kedge.distribution.challenge import parse_challenges
from kedge.distribution.failures import (
    RegistryProblem,
    describe_connection_failure,
    parse_problem,
    pull_failure,
)
from kedge.errdefs import (
    KedgeError,
    NotFoundError,
    NotSupportedError,
    UnauthorizedError,
    UnavailableError,
)
from kedge.oci.references import parse_reference


def errors(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message, "detail": {}}]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "challenge", "code", "text"),
    [
        (404, errors("MANIFEST_UNKNOWN", "manifest unknown"), "", "MANIFEST_UNKNOWN",
         "manifest unknown: manifest unknown"),
        (404, errors("NAME_UNKNOWN", "a\nb"), "", "NAME_UNKNOWN", "name unknown: a b"),
        (401, b"", "", "UNAUTHORIZED", "unauthorized: authentication required"),
        (401, errors("UNAUTHORIZED", "authentication required"),
         'Bearer realm="x",error="insufficient_scope"', "DENIED",
         "denied: requested access to the resource is denied"),
        (401, b"", 'Bearer error="invalid_token",error_description="expired"', "UNAUTHORIZED",
         "unauthorized: expired"),
        (403, b"<html>", "", "DENIED", "denied: requested access to the resource is denied"),
        (429, b'{"details":"slow down"}', "", "TOOMANYREQUESTS", "toomanyrequests: slow down"),
        (404, b"not json", "", "", "received unexpected HTTP status: 404 Reason"),
        (500, errors("UNKNOWN", "x"), "", "", "received unexpected HTTP status: 500 Reason"),
        (418, b"[" * 100_000, "", "", "received unexpected HTTP status: 418 Reason"),
        (400, b'{"errors":[]}', "", "", "received unexpected HTTP status: 400 Reason"),
    ],
)  # fmt: skip
def test_problems(status: int, body: bytes, challenge: str, code: str, text: str) -> None:
    found = parse_problem(status, "Reason", body, parse_challenges([challenge]))
    assert found == RegistryProblem(status, code, text)


DENIED = "denied: requested access to the resource is denied"
CONNECTION_RESET = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NO_ANSWER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_ACCESS = (
    "pull access denied for web, repository does not exist or may require 'docker login': "
    "denied: requested access to the resource is denied"
)
NO_TRUST = (
    "cannot trust registry r:5000: certificate has expired; install its certificate "
    "authority on the host, or list it in insecure-registries"
)
NO_TLS = (
    "cannot talk to registry r:5000: server gave HTTP response to HTTPS client; "
    "list it in insecure-registries"
)


@pytest.mark.parametrize(
    ("problem", "kind", "text"),
    [
        (RegistryProblem(404, "MANIFEST_UNKNOWN", "manifest unknown: manifest unknown"),
         NotFoundError, "manifest for web:9 not found: manifest unknown: manifest unknown"),
        (RegistryProblem(401, "DENIED", "denied: requested access to the resource is denied"),
         NotFoundError, NO_ACCESS),
        (RegistryProblem(404, "NAME_UNKNOWN", "name unknown: x"), NotFoundError,
         "repository web not found: name unknown: x"),
        (RegistryProblem(401, "UNAUTHORIZED", "unauthorized: authentication required"),
         UnauthorizedError,
         "cannot pull web:9 from r:443: unauthorized: authentication required"),
        (RegistryProblem(429, "TOOMANYREQUESTS", "toomanyrequests: slow down"), UnavailableError,
         "cannot pull web:9 from r:443: toomanyrequests: slow down"),
        (RegistryProblem(404, "", "received unexpected HTTP status: 404"), NotFoundError,
         "manifest for web:9 not found: manifest unknown: manifest unknown"),
        (RegistryProblem(404, "BLOB_UNKNOWN", "blob unknown: gone"), UnavailableError,
         "cannot pull web:9 from r:443: blob unknown: gone"),
        (RegistryProblem(400, "UNSUPPORTED", "unsupported: no"), NotSupportedError,
         "cannot pull web:9 from r:443: unsupported: no"),
    ],
)  # fmt: skip
def test_pulls_fail_in_dockers_words(
    problem: RegistryProblem, kind: type[KedgeError], text: str
) -> None:
    found = pull_failure(problem, parse_reference("web:9"), "r:443")
    assert type(found) is kind
    assert str(found) == text


def new_connection_error(cause: OSError) -> urllib3.exceptions.NewConnectionError:
    error = urllib3.exceptions.NewConnectionError(HTTPConnection("r"), "failed to connect")
    error.__cause__ = cause
    return error


def certificate_error() -> urllib3.exceptions.SSLError:
    inner = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    inner.verify_message = "certificate has expired"
    return urllib3.exceptions.SSLError(inner)


def plain_http_error() -> urllib3.exceptions.SSLError:
    inner = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    inner.reason = "WRONG_VERSION_NUMBER"
    return urllib3.exceptions.SSLError(inner)


@pytest.mark.parametrize(
    ("error", "text", "may_retry", "reached"),
    [
        (new_connection_error(OSError(errno.ECONNREFUSED, "Connection refused")),
         "cannot reach registry r:5000: connection refused", False, False),
        (new_connection_error(NO_NAME),
         "cannot reach registry r:5000: name or service not known", False, False),
        (new_connection_error(NO_ANSWER),
         "cannot reach registry r:5000: temporary failure in name resolution", True, False),
        (urllib3.exceptions.ConnectTimeoutError("timed out"),
         "cannot reach registry r:5000: timed out", False, False),
        (urllib3.exceptions.ProtocolError("Connection aborted.", CONNECTION_RESET),
         "lost the connection to registry r:5000: connection reset by peer", True, True),
        (urllib3.exceptions.ProtocolError("Response ended prematurely"),
         "lost the connection to registry r:5000: connection broken", True, True),
        (TimeoutError("timed out"),
         "lost the connection to registry r:5000: timed out", True, True),
        (certificate_error(),
         NO_TRUST, False, True),
        (plain_http_error(),
         NO_TLS, False, True),
    ],
)  # fmt: skip
def test_connections_fail_with_host_port_and_cause(
    error: Exception,
    text: str,
    may_retry: bool,  # noqa: FBT001
    reached: bool,  # noqa: FBT001
) -> None:
    found = describe_connection_failure(error, "r:5000")
    assert str(found) == text
    assert found.may_retry is may_retry
    assert found.reached is reached
