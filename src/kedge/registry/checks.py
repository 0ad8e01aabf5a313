"""Names that clients send: each is returned as it is, or refused in the specification's words."""

from collections.abc import Sequence

from kedge.oci.digests import is_digest
from kedge.oci.hashing import has_digest, sha256_digest
from kedge.oci.references import is_repository, is_tag
from kedge.registry.failures import DistributionError, ErrorCode


def check_repository(repository: str) -> str:
    """Return the name of a repository.

    Raises:
        DistributionError: It cannot be one.
    """
    if not is_repository(repository):
        raise DistributionError(
            ErrorCode.NAME_INVALID, f"invalid repository name: {repository[:80]}"
        )
    return repository


def check_tag(tag: str) -> str:
    """Return a tag.

    Raises:
        DistributionError: It cannot be one.
    """
    if not is_tag(tag):
        raise DistributionError(ErrorCode.TAG_INVALID, f"invalid tag: {tag[:80]}")
    return tag


def check_digest(digest: str) -> str:
    """Return a digest.

    Raises:
        DistributionError: It is none, or of an unknown algorithm.
    """
    if not is_digest(digest):
        raise DistributionError(ErrorCode.DIGEST_INVALID, f"invalid digest: {digest[:140]}")
    return digest


def check_reference(reference: str, data: bytes, tags: Sequence[str]) -> str:
    """Return the digest of a manifest that is pushed as ``reference``, and under ``tags``.

    Raises:
        DistributionError: A name cannot be one, or the digest is another.
    """
    for tag in tags:
        check_tag(tag)
    if ":" not in reference:
        check_tag(reference)
        return sha256_digest(data)
    if not has_digest(data, check_digest(reference)):
        raise DistributionError(
            ErrorCode.DIGEST_INVALID, f"the manifest's bytes do not match {reference}"
        )
    return reference
