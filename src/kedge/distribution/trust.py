"""Whom a TLS connection trusts and as whom it speaks: certificates by host, read at each request.

Layout of Docker's ``certs.d``: below ``HOST`` or ``HOST:PORT``, each ``*.crt`` is a certificate
authority and each ``NAME.cert`` with ``NAME.key`` a client certificate. A file that changes counts
from the next request on; nothing has to be restarted.
"""

import os
import ssl
from collections.abc import Sequence
from typing import Final, NamedTuple

from kedge.errdefs import SystemFailureError

CERTS_DIRECTORIES: Final = ("/etc/kedge/certs.d", "/etc/docker/certs.d")
_CA_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Trust(NamedTuple):
    """What a registry's configuration says about its certificates."""

    verify: bool = True
    """Whether the server must show a certificate that is trusted."""
    registry: str = ""
    """Whose authorities also count for its token service and where it redirects to."""
    authorities: tuple[str, ...] = ()
    """More files with certificate authorities."""
    client_pairs: tuple[tuple[str, str], ...] = ()
    """Files with a client certificate and its key, shown to ``registry`` alone."""


VERIFIED: Final = Trust()


class Certificates(NamedTuple):
    """The files one connection uses; equal values mean that its connections can be shared."""

    verify: bool
    authorities: tuple[str, ...]
    client_pairs: tuple[tuple[str, str], ...]
    stamps: tuple[tuple[int, int], ...]
    """Time and size of each file, so that a new file means a new connection."""


def find_certificates(host: str, trust: Trust, directories: Sequence[str]) -> Certificates:
    """Return what a connection to ``host`` (``name`` or ``name:port``) uses now.

    Raises:
        SystemFailureError: A client certificate without its key, or the other way round; a file
            that cannot be read.
    """
    is_registry = host == trust.registry
    authorities = list(trust.authorities)
    pairs = list(trust.client_pairs) if is_registry else []
    names = {host, trust.registry} if trust.registry else {host}
    for directory in directories:
        for name in sorted(names):
            folder = os.path.join(directory, name)
            found_authorities, found_pairs = _read_folder(folder)
            authorities += found_authorities
            if name == host:
                pairs += found_pairs
    files = [*authorities, *(path for pair in pairs for path in pair)]
    return Certificates(trust.verify, tuple(authorities), tuple(pairs), tuple(map(_stamp, files)))


def make_context(certificates: Certificates) -> ssl.SSLContext:
    """Return the TLS settings of a connection.

    Raises:
        SystemFailureError: A file holds no certificate or no key that fits.
    """
    context = ssl.create_default_context()
    if certificates.verify:
        _trust_host_bundle(context)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    path = ""
    try:
        for path in certificates.authorities:
            context.load_verify_locations(cafile=path)
        for path, key in certificates.client_pairs:
            context.load_cert_chain(path, key)
    except (OSError, ssl.SSLError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise SystemFailureError(
            f"cannot use certificate {path}: {str(reason or error).lower().replace('_', ' ')}"
        ) from None
    return context


def _read_folder(folder: str) -> tuple[list[str], list[tuple[str, str]]]:
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    except OSError as error:
        raise SystemFailureError(
            f"cannot read {folder}: {(error.strerror or '').lower()}"
        ) from None
    authorities: list[str] = []
    pairs: list[tuple[str, str]] = []
    for name in names:
        path = os.path.join(folder, name)
        stem, extension = os.path.splitext(name)
        if extension == ".crt":
            authorities.append(path)
        elif extension == ".cert":
            if f"{stem}.key" not in names:
                raise SystemFailureError(
                    f"missing key {stem}.key for client certificate {path}."
                    " CA certificates must use the extension .crt"
                )
            pairs.append((path, os.path.join(folder, f"{stem}.key")))
        elif extension == ".key" and f"{stem}.cert" not in names:
            raise SystemFailureError(f"missing client certificate {stem}.cert for key {path}")
    return authorities, pairs


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise SystemFailureError(
            f"cannot read certificate {path}: {(error.strerror or '').lower()}"
        ) from None
    return status.st_mtime_ns, status.st_size


def _trust_host_bundle(context: ssl.SSLContext) -> None:
    """Load the host's CA bundle where Python's OpenSSL was built to look elsewhere.

    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are honoured by the default context itself.
    """
    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath:
        return
    for bundle in _CA_BUNDLES:
        if os.path.exists(bundle):
            context.load_verify_locations(cafile=bundle)
            return
