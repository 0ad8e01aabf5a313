"""Which versions of engine and shim go together."""

import pytest

from kedge.lib.jsontypes import JsonObject
from kedge.shim.protocol import describe_protocol, explain_misfit


def hello(protocol: int, oldest: int) -> JsonObject:
    return {"id": "abc" * 20, "protocol": protocol, "oldest_protocol": oldest}


def test_this_version_and_the_one_before_there_were_numbers() -> None:
    assert explain_misfit({"id": "x", **describe_protocol()}) == ""
    assert explain_misfit({"id": "x"}) == ""


@pytest.mark.parametrize(
    ("protocol", "oldest", "age"),
    [(4, 4, ""), (3, 1, ""), (6, 4, ""), (2, 2, "an older"), (6, 5, "a newer"), (0, 0, "an older")],
)
def test_both_have_to_understand_each_other(protocol: int, oldest: int, age: str) -> None:
    said = explain_misfit(hello(protocol, oldest), protocol=4, oldest=3)
    assert said == (
        f"container abcabcabcabc was started by {age} kedge (shim protocol {protocol}, this "
        "engine speaks 3 to 4): it runs on, and can be stopped, killed and removed; restart it to "
        "use everything else"
        if age
        else ""
    )
