import pytest

from kedge.images.image import Image, Layer, parse_created
from kedge.oci.image_spec import ImageConfig, RootFS
from kedge.oci.references import parse_reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("2024-05-06T07:08:09.123456789Z", 1_714_979_289_123_456_789),
        ("2024-05-06T09:08:09.123456789+02:00", 1_714_979_289_123_456_789),
        ("2024-05-06T07:08:09", 1_714_979_289_000_000_000),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
        ("yesterday", 0),
        ("2024-99-99T00:00:00Z", 0),
    ],
)
def test_created(text: str, expected: int) -> None:
    assert parse_created(text) == expected


def test_what_an_image_tells_about_itself() -> None:
    image = Image(
        id="sha256:" + "0123456789abcdef" * 4,
        config=ImageConfig(rootfs=RootFS()),
        layers=(
            Layer(diff_id="d1", chain_id="c1", size_bytes=3),
            Layer(diff_id="d2", chain_id="c2", size_bytes=4),
        ),
        tags=(parse_reference("redis:7"),),
        digests=(parse_reference("redis@sha256:" + "ab" * 32),),
    )
    assert image.short_id == "0123456789ab"
    assert image.chain_id == "c2"
    assert image.size_bytes == 7
    assert image.repo_tags == ["redis:7"]
    assert image.repo_digests == ["redis@sha256:" + "ab" * 32]
    assert not image.is_dangling
