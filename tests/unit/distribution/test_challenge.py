import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.distribution.challenge import Challenge, parse_challenges

TOKEN_CHALLENGE = (
    'Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push"'
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [Challenge("basic")]),
        ('Basic realm="Registry Realm"', [Challenge("basic", {"realm": "Registry Realm"})]),
        (
            TOKEN_CHALLENGE,
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.example/token",
                        "service": "r.example",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (
            'Bearer realm="https://a",error="invalid_token", Basic realm=plain',
            [
                Challenge("bearer", {"realm": "https://a", "error": "invalid_token"}),
                Challenge("basic", {"realm": "plain"}),
            ],
        ),
        (
            r'X realm="a \"quoted\" word", B="2"',
            [Challenge("x", {"realm": 'a "quoted" word', "b": "2"})],
        ),
        ("Negotiate, Basic realm=x", [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        ('Basic realm = "spaces"', [Challenge("basic", {"realm": "spaces"})]),
        ('Basic realm="first", realm="second"', [Challenge("basic", {"realm": "first"})]),
        ('realm="no scheme"', []),
        ('Basic realm="unclosed', [Challenge("basic")]),
        ('Basic realm="x" \x00', [Challenge("basic", {"realm": "x"})]),
    ],
)
def test_headers(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges([header]) == expected


def test_several_headers_keep_their_order() -> None:
    found = parse_challenges(["Bearer realm=a", "Basic realm=b"])
    assert [challenge.scheme for challenge in found] == ["bearer", "basic"]


@given(st.text(max_size=60))
def test_nonsense_never_raises(header: str) -> None:
    for challenge in parse_challenges([header]):
        assert challenge.scheme == challenge.scheme.lower()


_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), _VALUES, max_size=4))
def test_quoting_is_undone(parameters: dict[str, str]) -> None:
    quoted = ", ".join(
        '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"'))
        for name, value in parameters.items()
    )
    assert parse_challenges([f"Bearer {quoted}"]) == [Challenge("bearer", parameters)]
