from pathlib import Path

from kedge.lib.hostcerts import (
    CONTAINER_PATH,
    VARIABLES,
    find_host_bundle,
    has_own_certificates,
    shows_tls_failure,
    with_host_certs,
)


def test_finds_the_bundle_of_each_distribution(tmp_path: Path) -> None:
    assert find_host_bundle(str(tmp_path)) is None
    red_hat = tmp_path / "etc/pki/tls/certs/ca-bundle.crt"
    red_hat.parent.mkdir(parents=True)
    red_hat.write_text("x")
    assert find_host_bundle(str(tmp_path)) == str(red_hat)
    debian = tmp_path / "etc/ssl/certs/ca-certificates.crt"
    debian.parent.mkdir(parents=True)
    debian.write_text("x")
    assert find_host_bundle(str(tmp_path)) == str(debian)


def test_own_certificates_are_what_somebody_installed(tmp_path: Path) -> None:
    folder = tmp_path / "usr/local/share/ca-certificates/company"
    folder.mkdir(parents=True)
    (folder / "README").write_text("no certificate")
    assert not has_own_certificates(str(tmp_path))
    (folder / "proxy.crt").write_text("x")
    assert has_own_certificates(str(tmp_path))


def test_variables_of_the_image_win() -> None:
    environment = with_host_certs(["PIP_CERT=/mine", "A=1"])
    assert environment[:2] == ["PIP_CERT=/mine", "A=1"]
    names = [item.partition("=")[0] for item in environment]
    assert sorted(names) == sorted(["A", *VARIABLES])
    assert f"SSL_CERT_FILE={CONTAINER_PATH}" in environment


def test_tls_failures_are_recognised() -> None:
    pip = b"SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate"
    assert shows_tls_failure(pip)
    assert shows_tls_failure(b"curl: (60) SSL certificate problem: self-signed certificate")
    assert shows_tls_failure(b"x509: certificate signed by unknown authority")
    assert not shows_tls_failure(b"gcc: error: no such file: certificate.c")
