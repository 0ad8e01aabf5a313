"""Failures of the network and of registries, each as one line a person can act on.

Texts follow moby (`distribution/errors.go`) and distribution's client, because the docker CLI and
scripts match on them.
"""

import json
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import urllib3.exceptions

from kedge.distribution.challenge import Challenge
from kedge.errdefs import (
    ForbiddenError,
    KedgeError,
    NotFoundError,
    NotSupportedError,
    UnauthorizedError,
    UnavailableError,
)
from kedge.lib.jsontypes import Json
from kedge.oci.references import Reference

_CLIENT_CERTIFICATE_ALERTS: Final = frozenset(
    {
        *("SSLV3_ALERT_BAD_CERTIFICATE", "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
        *("SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
        *("TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
    }
)
_Error = TypeVar("_Error", bound=BaseException)


class ConnectionFailedError(UnavailableError):
    """The exchange with a host broke off or never began."""

    def __init__(self, message: str, *, may_retry: bool, reached: bool = True) -> None:
        super().__init__(message)
        self.may_retry = may_retry
        """Whether the same request may work in a moment."""
        self.reached = reached
        """Whether something listens there."""


class PullCancelledError(UnavailableError):
    """Whoever asked for the pull no longer wants it."""

    def __init__(self) -> None:
        super().__init__("pull cancelled")


class PushCancelledError(UnavailableError):
    """Whoever asked for the push no longer wants it."""

    def __init__(self) -> None:
        super().__init__("push cancelled")


@dataclass(frozen=True, slots=True)
class RegistryProblem:
    """What a registry answered instead of what it was asked for."""

    status: int
    code: str
    """Of distribution-spec's error codes; empty where the answer had none."""
    message: str
    """``code: message`` as Docker prints it."""
    retry_after_s: float | None = None
    """When the registry wants to be asked again."""


class RegistryRefusedError(KedgeError):
    """The registry answered with an error; `pull_failure` words it for a pull."""

    def __init__(self, problem: RegistryProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def describe_connection_failure(
    error: BaseException, address: str, *, peer: str = "registry"
) -> ConnectionFailedError:
    """Return the failure that urllib3 or the socket reported, naming host, port and cause.

    Args:
        error: What was raised.
        address: ``host:port`` that was talked to.
        peer: What is there.
    """
    address = f"{peer} {address}"
    verification = _find(error, ssl.SSLCertVerificationError)
    if verification is not None:
        return ConnectionFailedError(
            f"cannot trust {address}: {verification.verify_message}; install its"
            " certificate authority on the host, or list it in insecure-registries",
            may_retry=False,
        )
    tls = _find(error, ssl.SSLError)
    if tls is not None:
        plain = tls.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}
        cause = f"TLS failed: {(tls.reason or str(tls)).lower().replace('_', ' ')}"
        if plain:
            cause = "server gave HTTP response to HTTPS client; list it in insecure-registries"
        elif tls.reason in _CLIENT_CERTIFICATE_ALERTS:
            cause += "; put a client certificate and its key into certs.d, or a better one"
        return ConnectionFailedError(f"cannot talk to {address}: {cause}", may_retry=False)
    name = _find(error, socket.gaierror)
    if name is not None:
        cause = (name.strerror or "name resolution failed").lower()
        return ConnectionFailedError(
            f"cannot reach {address}: {cause}",
            may_retry=name.errno == socket.EAI_AGAIN,
            reached=False,
        )
    # A refused connection is a NewConnectionError, which urllib3 derives from ConnectTimeoutError.
    reached = _find(error, urllib3.exceptions.ConnectTimeoutError) is None
    system = _find(error, OSError)
    if system is not None and system.strerror:
        cause = system.strerror.lower()
    elif _find(error, (TimeoutError, urllib3.exceptions.TimeoutError)) is not None:
        cause = "timed out"
    else:
        cause = "connection broken"
    verb = "lost the connection to" if reached else "cannot reach"
    return ConnectionFailedError(f"{verb} {address}: {cause}", may_retry=reached, reached=reached)


def parse_problem(
    status: int, reason: str, body: bytes, challenges: Iterable[Challenge]
) -> RegistryProblem:
    """Read an error answer: OAuth errors of the challenge first, then the body's error codes."""
    if 400 <= status < 500:
        for challenge in challenges:
            oauth = challenge.parameters.get("error") if challenge.scheme == "bearer" else None
            code = {"invalid_token": "UNAUTHORIZED", "insufficient_scope": "DENIED"}.get(
                oauth or ""
            )
            if code:
                text = challenge.parameters.get("error_description") or _STANDARD_TEXTS[code]
                return RegistryProblem(status, code, _describe(code, text))
        code, text = _first_error(body)
        if code:
            return RegistryProblem(status, code, _describe(code, text))
        code = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}.get(status, "")
        if code:
            return RegistryProblem(status, code, _describe(code, text or _STANDARD_TEXTS[code]))
    return RegistryProblem(
        status, "", f"received unexpected HTTP status: {status} {reason}".strip()
    )


def pull_failure(problem: RegistryProblem, reference: Reference, host: str) -> KedgeError:
    """Return Docker's error for a pull that a registry refused."""
    name, full = reference.familiar_name, reference.familiar()
    match problem.code:
        case "DENIED":
            return NotFoundError(
                f"pull access denied for {name}, repository does not exist or may require"
                f" 'docker login': {problem.message}"
            )
        case "MANIFEST_UNKNOWN" | "NOT_FOUND":
            return NotFoundError(f"manifest for {full} not found: {problem.message}")
        case "NAME_UNKNOWN":
            return NotFoundError(f"repository {name} not found: {problem.message}")
        case "UNAUTHORIZED":
            return UnauthorizedError(f"cannot pull {full} from {host}: {problem.message}")
        case "TOOMANYREQUESTS":
            return UnavailableError(f"cannot pull {full} from {host}: {problem.message}")
        case "UNSUPPORTED":
            return NotSupportedError(f"cannot pull {full} from {host}: {problem.message}")
        case "" if problem.status == 404:
            # A server that is no registry has no error codes to offer.
            return NotFoundError(
                f"manifest for {full} not found: manifest unknown: manifest unknown"
            )
        case _:
            return UnavailableError(f"cannot pull {full} from {host}: {problem.message}")


def push_failure(problem: RegistryProblem, reference: Reference, host: str) -> KedgeError:
    """Return Docker's error for a push that a registry refused, then what to do about it."""
    match problem.code:
        case "DENIED":
            return ForbiddenError(
                f"{problem.message}: no leave to push {reference.familiar_name} to {host};"
                " log in as somebody who has"
            )
        case "UNAUTHORIZED":
            return UnauthorizedError(f"{problem.message}: log in to {host} first")
        case "UNSUPPORTED":
            return NotSupportedError(
                f"cannot push {reference.familiar()} to {host}: {problem.message}"
            )
        case _:
            return UnavailableError(
                f"cannot push {reference.familiar()} to {host}: {problem.message}"
            )


def describe_rate_limit(limit: str, remaining: str) -> str:
    """Return what ``RateLimit-Limit`` and ``-Remaining`` (``100;w=21600``) say, for a message."""
    count, _, window = limit.partition(";w=")
    if not count.strip().isdigit():
        return ""
    left = remaining.partition(";")[0].strip()
    text = f" (rate limit: {count.strip()} requests"
    if window.strip().isdigit():
        text += f" in {int(window) // 3600} h" if int(window) >= 3600 else f" in {window.strip()} s"
    return f"{text}, {left} left)" if left.isdigit() else f"{text})"


_STANDARD_TEXTS = {
    "UNAUTHORIZED": "authentication required",
    "DENIED": "requested access to the resource is denied",
    "TOOMANYREQUESTS": "too many requests",
}


def load_json(body: bytes) -> Json:
    """Decode what a server sent; nonsense is None."""
    try:
        return cast("Json", json.loads(body))
    except (ValueError, RecursionError):
        return None


def _first_error(body: bytes) -> tuple[str, str]:
    document = load_json(body)
    if not isinstance(document, dict):
        return "", ""
    errors = document.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        code, message = errors[0].get("code"), errors[0].get("message")
        return str(code or "UNKNOWN"), str(message or "")
    details = document.get("details") or document.get("message")
    return "", details if isinstance(details, str) else ""


def _describe(code: str, message: str) -> str:
    words = code.lower().replace("_", " ")
    line = " ".join((message or _STANDARD_TEXTS.get(code, "")).split())[:500]
    return f"{words}: {line}" if line else words


def _find(error: BaseException, kinds: type[_Error] | tuple[type[_Error], ...]) -> _Error | None:
    """Return the innermost-reaching cause of one of ``kinds``: urllib3 wraps what happened."""
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        current = queue.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, kinds):
            return current
        queue += [current.__cause__, current.__context__, *current.args]
    return None
