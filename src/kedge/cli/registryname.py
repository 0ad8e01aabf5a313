"""Which registry a word on the command line means, by the name its login is kept under."""

from kedge.client.credentials import HUB_KEY
from kedge.errdefs import InvalidParameterError
from kedge.oci.references import parse_name

_HUB_HOSTS = frozenset({"", "docker.io", "index.docker.io", "registry-1.docker.io"})


def registry_key_of(word: str) -> str:
    """Return the host that ``word``, a host or a URL, names; Docker Hub where it is empty.

    Raises:
        InvalidParameterError: It names no host.
    """
    host = word.strip().removeprefix("https://").removeprefix("http://").partition("/")[0]
    if host in _HUB_HOSTS:
        return HUB_KEY
    try:
        return parse_name(f"{host}/x/y").domain
    except InvalidParameterError:
        raise InvalidParameterError(f'invalid registry "{word}": want HOST or HOST:PORT') from None
