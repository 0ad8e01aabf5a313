"""Signatures: who is trusted, and what of a document."""

from pathlib import Path

import pysequoia
import pytest

from kedge.errdefs import DataLossError
from kedge.images.bootstrap.openpgp import archive_keys, verified_text
from tests.unit.images_bootstrap.mirror import KEY, sign

CERTS = [KEY.extract_certificate()]
TEXT = "Origin: Debian\n- dashes\nCodename: x\n"


def test_signed() -> None:
    assert verified_text(sign(TEXT), CERTS, name="InRelease") == TEXT.encode()


def test_what_surrounds_the_signed_text_is_not_returned() -> None:
    signed = b"\n\n" + sign(TEXT) + b"\nOrigin: Evil\n"
    assert verified_text(signed, CERTS, name="InRelease") == TEXT.encode()


def test_changed() -> None:
    changed = sign(TEXT).replace(b"Codename: x", b"Codename: y")
    with pytest.raises(
        DataLossError, match=r"InRelease has no valid signature .*it claims [0-9A-F]{16}"
    ):
        verified_text(changed, CERTS, name="InRelease")


def test_unknown_key() -> None:
    other = pysequoia.Tsk.generate("mallory@mirror.test")
    with pytest.raises(DataLossError, match="has no valid signature") as caught:
        verified_text(sign(TEXT, other), CERTS, name="InRelease")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"Origin: Debian\n", b"<html>"])
def test_unsigned(data: bytes) -> None:
    with pytest.raises(DataLossError, match="InRelease is not signed"):
        verified_text(data, CERTS, name="InRelease")


@pytest.mark.parametrize("cut", [40, 90, -30])
def test_truncated(cut: int) -> None:
    with pytest.raises(DataLossError, match="no valid signature"):
        verified_text(sign(TEXT)[:cut], CERTS, name="InRelease")


def test_keys_come_with_kedge() -> None:
    users = {str(user) for cert in archive_keys("/nowhere/*") for user in cert.user_ids}
    assert any("Debian Archive Automatic Signing Key (12/bookworm)" in user for user in users)
    assert any("Debian Stable Release Key (13/trixie)" in user for user in users)


def test_keys_of_the_host_count_too(tmp_path: Path) -> None:
    (tmp_path / "debian-archive-a.gpg").write_bytes(bytes(CERTS[0]))
    (tmp_path / "debian-archive-removed-keys.gpg").write_bytes(
        bytes(pysequoia.Tsk.generate("old@mirror.test").extract_certificate())
    )
    (tmp_path / "debian-archive-b.gpg").write_bytes(b"not a keyring")
    fingerprints = {cert.fingerprint for cert in archive_keys(str(tmp_path / "*.gpg"))}
    shipped = {cert.fingerprint for cert in archive_keys("/nowhere/*")}
    assert fingerprints == shipped | {CERTS[0].fingerprint}
