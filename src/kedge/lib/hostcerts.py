"""The host's certificate authorities inside containers, for networks that re-sign TLS.

The bundle is bound read-only below ``/dev``, which is a fresh tmpfs in every container, so no
layer ever sees a file for it. Builds and containers share these names; when to apply them is
decided by who starts the container.
"""

import os
from collections.abc import Iterable
from typing import Final

CONTAINER_PATH: Final = "/dev/.kedge-host-certs.crt"

VARIABLES: Final = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)
"""What OpenSSL, pip, requests, curl, Node and git read."""

HINT: Final = (
    "hint: TLS verification failed; if this network re-signs TLS, build with --host-certs "
    "so that steps trust the certificate authorities of this host"
)

_BUNDLES: Final = (
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
)
_OWN_FOLDERS: Final = (
    "usr/local/share/ca-certificates",
    "etc/pki/ca-trust/source/anchors",
    "etc/pki/trust/anchors",
)
_SUFFIXES: Final = (".crt", ".pem", ".cer")

_FAILURES: Final = (
    b"certificate verify failed",
    b"CERTIFICATE_VERIFY_FAILED",
    b"self-signed certificate in certificate chain",
    b"self signed certificate in certificate chain",
    b"SELF_SIGNED_CERT_IN_CHAIN",
    b"unable to get local issuer certificate",
    b"UNABLE_TO_GET_ISSUER_CERT",
    b"UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    b"SSL certificate problem",
    b"server certificate verification failed",
    b"certificate signed by unknown authority",
    b"The certificate is NOT trusted",
    b"Certificate verification failed",
    b"PKIX path building failed",
)


def find_host_bundle(root: str = "/") -> str | None:
    """Return the path of the host's bundle of trusted certificates, or None without one.

    Args:
        root: Where the host's file system is, for a test.
    """
    for name in _BUNDLES:
        path = os.path.join(root, name)
        if os.path.isfile(path):
            return os.path.realpath(path) if root == "/" else path
    return None


def has_own_certificates(root: str = "/") -> bool:
    """Say whether somebody installed certificate authorities of their own on this host.

    Args:
        root: Where the host's file system is, for a test.
    """
    for name in _OWN_FOLDERS:
        for _folder, _folders, files in os.walk(os.path.join(root, name)):
            if any(file.endswith(_SUFFIXES) for file in files):
                return True
    return False


def with_host_certs(environment: Iterable[str]) -> list[str]:
    """Return ``environment`` (``NAME=value``) plus the variables it does not set itself."""
    given = list(environment)
    names = {item.partition("=")[0] for item in given}
    return given + [f"{name}={CONTAINER_PATH}" for name in VARIABLES if name not in names]


def shows_tls_failure(output: bytes) -> bool:
    """Say whether ``output`` of a program tells of a certificate that was not trusted."""
    return any(text in output for text in _FAILURES)
