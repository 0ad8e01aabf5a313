"""Certificates by host: Docker's layout, and who sees a client certificate."""

import os
from pathlib import Path

import pytest

from kedge.distribution.trust import Trust, find_certificates, make_context
from kedge.errdefs import SystemFailureError

HOST = "r.example:5000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / HOST
    made.mkdir()
    return made


def test_nothing_there(tmp_path: Path) -> None:
    found = find_certificates(HOST, Trust(), (str(tmp_path), "/nowhere"))
    assert found == (True, (), (), ())


def test_authorities_and_pairs(folder: Path) -> None:
    for name in ("a.crt", "b.crt", "me.cert", "me.key", "README"):
        (folder / name).write_text(name)
    found = find_certificates(HOST, Trust(registry=HOST), (str(folder.parent),))
    assert found.authorities == (f"{folder}/a.crt", f"{folder}/b.crt")
    assert found.client_pairs == ((f"{folder}/me.cert", f"{folder}/me.key"),)


def test_a_token_service_is_trusted_but_not_shown_the_certificate(folder: Path) -> None:
    for name in ("a.crt", "me.cert", "me.key"):
        (folder / name).write_text(name)
    trust = Trust(registry=HOST, client_pairs=(("/c", "/k"),))
    found = find_certificates("auth.example", trust, (str(folder.parent),))
    assert found.authorities == (f"{folder}/a.crt",)
    assert found.client_pairs == ()


def test_a_changed_file_is_another_connection(folder: Path) -> None:
    (folder / "a.crt").write_text("1")
    before = find_certificates(HOST, Trust(), (str(folder.parent),))
    assert before == find_certificates(HOST, Trust(), (str(folder.parent),))
    os.utime(folder / "a.crt", ns=(1, 1))
    assert before != find_certificates(HOST, Trust(), (str(folder.parent),))


@pytest.mark.parametrize(
    ("name", "problem"),
    [("me.cert", "missing key me.key for client certificate"), ("me.key", "missing client")],
)
def test_half_a_pair(folder: Path, name: str, problem: str) -> None:
    (folder / name).write_text("")
    with pytest.raises(SystemFailureError, match=problem):
        find_certificates(HOST, Trust(), (str(folder.parent),))


def test_what_is_no_certificate_is_named(folder: Path) -> None:
    (folder / "a.crt").write_text("nonsense")
    found = find_certificates(HOST, Trust(), (str(folder.parent),))
    with pytest.raises(SystemFailureError, match=rf"cannot use certificate {folder}/a\.crt"):
        make_context(found)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    trust = Trust(authorities=(f"{tmp_path}/gone.crt",))
    with pytest.raises(SystemFailureError, match=r"gone\.crt: no such file"):
        find_certificates(HOST, trust, ())
