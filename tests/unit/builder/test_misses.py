"""The line that says why a step runs again."""

import json

from kedge.builder.misses import explain_miss
from kedge.lib.jsontypes import Json, JsonObject


def copy(*files: tuple[str, str], **operation: Json) -> str:
    inputs: list[Json] = ["sha256:p"]
    for name, digest in files:
        inputs.append({"name": name, "digest": digest})
    op: JsonObject = {"kind": "copy", "destination": "/x", **operation}
    return json.dumps({"v": 1, "op": op, "inputs": inputs})


def test_files_that_changed_came_or_went() -> None:
    known = [copy(("a", "sha256:4f1c99"), ("b", "sha256:00"))]
    for document, reason in (
        (copy(("a", "sha256:9e0277"), ("b", "sha256:00")), "COPY a: changed, 4f1c… → 9e02…"),
        (copy(("a", "sha256:4f1c99"), ("c", "sha256:00")), "COPY c: new"),
        (copy(("a", "sha256:4f1c99")), "COPY b: gone"),
    ):
        assert explain_miss(document, "COPY a /x # buildkit", known) == reason


def test_nothing_is_said_of_what_was_never_seen() -> None:
    known = [copy(("a", "sha256:1")), '{"v":1,"op":{"kind":"run","args":["a"]},"inputs":[]}']
    assert explain_miss(copy(("a", "sha256:2"), destination="/y"), "COPY a /y", known) == ""
    run = '{"v":1,"op":{"kind":"run","args":["b"],"env":[]},"inputs":[]}'
    assert explain_miss(run, "RUN b", known) == ""
    assert explain_miss(run, "RUN b", []) == ""


def test_the_likeliest_known_step_is_compared() -> None:
    known = [copy(("a", "sha256:2222"), mode="1"), copy(("a", "sha256:3333"))]
    found = explain_miss(copy(("a", "sha256:1111")), "COPY a /x", known)
    assert found == 'COPY mode: "1" → unset'
