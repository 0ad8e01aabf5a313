"""Signatures of package archives: a clear-signed text in, its trusted content out.

Sequoia does the cryptography (RFC 9580) and refuses weak hashes and keys that have expired or
were revoked. Here it is decided whom to trust: the archive keys of the host, where it is a Debian,
and those that come with kedge.
"""

import glob
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Final

import pysequoia

from kedge.errdefs import DataLossError

_HOST_KEYRINGS: Final = "/usr/share/keyrings/debian-archive-*.gpg"
_MARKER: Final = b"-----BEGIN PGP SIGNED MESSAGE-----"


def archive_keys(host_keyrings: str = _HOST_KEYRINGS) -> list[pysequoia.Cert]:
    """Return the certificates that may sign a Debian archive.

    Args:
        host_keyrings: Pattern of files; a keyring of keys that were removed is left out.
    """
    certs: list[pysequoia.Cert] = []
    for path in sorted(glob.glob(host_keyrings)):
        if "removed" not in path:
            with open(path, "rb") as file:
                certs += _split(file.read())
    for item in resources.files("kedge.images.bootstrap").joinpath("keys").iterdir():
        if item.name.endswith(".gpg"):
            certs += _split(item.read_bytes())
    return certs


def verified_text(signed: bytes, certs: Sequence[pysequoia.Cert], *, name: str) -> bytes:
    """Return what ``certs`` signed of a clear-signed document, and nothing around it.

    Args:
        signed: The whole document.
        certs: Whom to trust; the signature of one of them is enough.
        name: What messages call the document.

    Raises:
        DataLossError: It is not clear-signed, or by nobody who is trusted, or was changed.
    """
    if not signed.lstrip().startswith(_MARKER):
        raise DataLossError(f"{name} is not signed: this is no package mirror, or a broken one")
    signers: list[str] = []

    def find_certs(key_ids: Iterable[str]) -> list[pysequoia.Cert]:
        signers.extend(key_ids)
        return list(certs)

    try:
        verified = pysequoia.verify(signed, find_certs).bytes
    except RuntimeError as error:
        cause = str(error).partition("\n")[0].rstrip(".").lower()
        by = ", ".join(key[-16:].upper() for key in signers)
        raise DataLossError(
            f"{name} has no valid signature of a Debian archive key"
            + (f" (it claims {by})" if by else "")
            + f": {cause}; the file was changed, or its key has expired or is not known here"
        ) from None
    if not verified:
        raise DataLossError(f"{name} is signed but empty")
    return verified


def _split(data: bytes) -> list[pysequoia.Cert]:
    try:
        return pysequoia.Cert.split_bytes(data)
    except RuntimeError:
        # A keyring in a format Sequoia does not read must not hide the keys of the others.
        return []
