import pytest

from kedge.api.errors import FAILURE_STATUS, failure_of, status_of
from kedge.api.versions import MAX_VERSION, MIN_VERSION, ApiVersion, negotiate, parse_version
from kedge.errdefs import (
    ConflictError,
    DataLossError,
    InvalidParameterError,
    KedgeError,
    NotFoundError,
    SystemFailureError,
)


def test_every_failure_class_has_a_status() -> None:
    direct = {kind for kind in KedgeError.__subclasses__() if kind.__module__ == "kedge.errdefs"}
    assert direct == set(FAILURE_STATUS)


def test_a_subclass_counts_as_its_parent() -> None:
    assert status_of(DataLossError("x")) == 500
    assert status_of(NotFoundError("x")) == 404
    assert status_of(KeyError("x")) == 500


def test_statuses_become_failures_again() -> None:
    for failure, status in FAILURE_STATUS.items():
        assert failure_of(status) is failure
    assert failure_of(409) is ConflictError
    assert failure_of(418) is InvalidParameterError
    assert failure_of(502) is SystemFailureError


def test_versions_compare_by_number() -> None:
    assert ApiVersion(1, 9) < ApiVersion(1, 24) < MAX_VERSION
    assert str(MAX_VERSION) == "1.51"
    assert negotiate("1.24") == MIN_VERSION
    assert negotiate("1.51") == MAX_VERSION


@pytest.mark.parametrize("text", ["", "1", "1.", "x.y", "1.51.", "1.٣", "1." + "9" * 5000])
def test_nonsense_versions_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid API version"):
        parse_version(text)


def test_texts_that_clients_show() -> None:
    with pytest.raises(InvalidParameterError, match=r"client version 1\.12 is too old\. Minimum"):
        negotiate("1.12")
    with pytest.raises(InvalidParameterError, match=r"client version 2\.0 is too new\. Maximum"):
        negotiate("2.0")
