import pytest

from kedge.distribution.proxies import find_proxy

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("https://r.example/v2/", {}, ""),
        ("https://r.example/v2/", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://r.example/v2/", {"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, PROXY),
        ("https://r.example/v2/", {"HTTP_PROXY": PROXY}, ""),
        ("http://r.example/v2/", {"HTTP_PROXY": PROXY}, PROXY),
        ("https://r.example/", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ("https://127.0.0.1:5000/", {"HTTPS_PROXY": PROXY}, ""),
        ("http://localhost:5000/", {"HTTP_PROXY": PROXY}, ""),
        ("http://[::1]:5000/", {"HTTP_PROXY": PROXY}, ""),
    ],
)
def test_variables(url: str, environ: dict[str, str], expected: str) -> None:
    assert find_proxy(url, environ) == expected


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("r.example", "*", True),
        ("r.example", "example", True),
        ("r.example", "r.example", True),
        ("r.example", ".r.example", False),
        ("a.r.example", ".r.example", True),
        ("a.r.example", "*.r.example", True),
        ("r.example", "other, R.Example ", True),
        ("xr.example", "r.example", False),
        ("r.example", "r.example:443", True),
        ("r.example", "r.example:8443", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "1.2.3", False),
        ("11.1.2.3", "10.0.0.0/8,junk/9", False),
        ("[fd00::1]", "fd00::1", True),
        ("r.example", "", False),
    ],
)
def test_exceptions(host: str, no_proxy: str, direct: bool) -> None:  # noqa: FBT001
    found = find_proxy(f"https://{host}/", {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})
    assert found == ("" if direct else PROXY)
