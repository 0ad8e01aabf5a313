"""What ADD fetches: which of its sources are URLs, and what its flags say of them. Pure."""

import posixpath
from urllib.parse import urlsplit

from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.instructions import Add, Copy
from kedge.builder.gitrefs import is_git_ref, is_like_path, is_remote, parse_git_ref
from kedge.builder.operations import RemoteSource
from kedge.errdefs import InvalidParameterError
from kedge.oci.digests import parse_digest


def is_fetched(command: Copy | Add, source: str) -> bool:
    """Say whether ``source`` is a URL that ADD fetches."""
    return isinstance(command, Add) and is_remote(source) and not is_like_path(source)


def remote_sources(
    command: Add, sources: tuple[str, ...], checksum: str
) -> tuple[RemoteSource, ...]:
    """Return what of ``sources`` is fetched.

    Raises:
        DockerfileError: A URL is malformed, or a flag that is for URLs is given for files.
    """
    found = [source for source in sources if is_fetched(command, source)]
    if checksum and len(sources) + len(command.transfer.contents) != 1:
        raise DockerfileError("checksum can't be specified for multiple sources")
    if (checksum or command.keeps_git_dir) and not found:
        flag = "--checksum" if checksum else "--keep-git-dir"
        raise DockerfileError(f"ADD {flag} is only for downloads, not for local files")
    return tuple(_remote_source(source, checksum, command) for source in found)


def _remote_source(url: str, checksum: str, command: Add) -> RemoteSource:
    is_git = is_git_ref(url)
    try:
        if is_git:
            parse_git_ref(url)
        elif checksum:
            parse_digest(checksum)
    except InvalidParameterError as error:
        raise DockerfileError(f"ADD {url}: {error}") from None
    return RemoteSource(
        url=url,
        name=posixpath.basename(urlsplit(url).path) or "__unnamed__",
        is_git=is_git,
        checksum=checksum,
        keeps_git_dir=command.keeps_git_dir,
    )
