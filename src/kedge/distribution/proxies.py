"""Which proxy a URL goes through, by the usual environment variables.

Rules of Go's ``httpproxy``, because people set these variables for Docker: loopback never goes
through a proxy; ``NO_PROXY`` lists hosts, domains with all below them, addresses and CIDRs.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def find_proxy(url: str, environ: Mapping[str, str]) -> str:
    """Return the proxy's URL for ``url``, or an empty string."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower().rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    proxy = _variable(environ, f"{parts.scheme}_proxy")
    if not proxy or not host or _bypasses(host, port, _variable(environ, "no_proxy")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def merge_proxies(configured: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies of a configuration, the environment's for those it leaves out."""
    return {name: text or _variable(environ, name) for name, text in configured.items()}


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _bypasses(host: str, port: int, no_proxy: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for entry in no_proxy.lower().split(","):
        text = entry.strip()
        if text == "*" or (text and _matches(text, host, port, address)):
            return True
    return False


def _matches(
    entry: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
) -> bool:
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, separator, wanted_port = entry.rpartition(":")
    if separator and wanted_port.isdigit() and _address(entry) is None:
        if int(wanted_port) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    if address is not None:
        return _address(entry) == address
    # "example.com" covers itself and what is below it, ".example.com" only the latter.
    domain = entry.removeprefix("*").removeprefix(".")
    covers_itself = not entry.startswith((".", "*"))
    return host.endswith(f".{domain}") or (covers_itself and host == domain)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
