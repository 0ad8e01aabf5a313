"""``search`` of the docker CLI, docker-py and kedge against a fake of the index, over real HTTP."""

# docker-py has no types.
# pyright: basic

import json

import docker  # type: ignore[import-untyped]
import pytest
from docker.errors import APIError  # type: ignore[import-untyped]

from tests.engine import Engine
from tests.interop.image_search.conftest import FakeIndex

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_docker_and_kedge_print_the_same_of_a_mirror(mirrored: Engine, index: FakeIndex) -> None:
    printed = mirrored.docker("search", "--limit", "5", "tool").stdout
    assert mirrored.kedge("search", "--limit", "5", "tool").stdout == printed
    lines = [line.split() for line in printed.splitlines()]
    assert lines[0] == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    # The order is the index's.
    assert lines[1] == ["some/tool", "a", "tool", "7"]
    assert lines[2] == ["tool", "The", "tool", "900", "[OK]"]
    assert index.asked == [("tool", "5", ""), ("tool", "5", "")]


def test_filters_and_limits(mirrored: Engine, index: FakeIndex) -> None:
    def names(*flags: str) -> list[str]:
        done = mirrored.docker("search", *flags, "--format", "{{.Name}}", "library/tool")
        return done.stdout.split()

    assert names("-f", "is-official=true") == ["tool"]
    assert names("-f", "is-official=false") == ["some/tool"]
    assert names("-f", "stars=8") == ["tool"]
    assert names("-f", "is-automated=true") == []
    assert {asked[:2] for asked in index.asked} == {("tool", "25")}
    asked_before = len(index.asked)
    for flags, text in (
        (("--limit", "101"), "limit 101 is outside the range of [1, 100]"),
        (("-f", "stars=many"), "invalid filter 'stars=[many]'"),
        (("-f", "is-official=perhaps"), "invalid filter 'is-official=[perhaps]'"),
        (("-f", "color=red"), "invalid filter 'color'"),
    ):
        refused = mirrored.docker("search", *flags, "tool", check=False)
        assert refused.returncode == 1
        assert text in refused.stderr
    refused = mirrored.kedge("search", "--limit", "-1", "tool", check=False)
    assert "invalid limit specified" in refused.stderr
    assert len(index.asked) == asked_before


def test_a_registry_is_asked_itself_with_its_credentials(
    mirrored: Engine, index: FakeIndex
) -> None:
    client = docker.APIClient(base_url=mirrored.host)
    found = client.search(f"{index.host}/some/tool")
    assert found[0] == {
        "name": "some/tool", "description": "a\ntool", "star_count": 7,
        "is_official": False, "is_automated": False,
    }  # fmt: skip
    assert index.asked == [("some/tool", "25", "")]
    for term, text in (
        ("http://x/y", "repository name (http://x/y) should not have a scheme"),
        ("", "no term to search for"),
        (f"{index.host}/a", "the answer is no list of results"),
    ):
        index.body = json.dumps({"results": "no"}).encode()
        with pytest.raises(APIError) as caught:
            client.search(term)
        assert text in str(caught.value)
    index.status, index.body = 418, b"tea"
    with pytest.raises(APIError) as caught:
        client.search(f"{index.host}/a")
    assert f"search at {index.host} failed" in str(caught.value)
    assert "418" in str(caught.value)
    client.close()


def test_an_index_out_of_reach_is_named_in_one_line(mirrored: Engine, index: FakeIndex) -> None:
    # The mirror has no search, so that Docker Hub's index counts; no name is resolved here.
    index.status = 404
    refused = mirrored.docker("search", "tool", check=False)
    assert refused.returncode == 1
    assert "index.docker.io" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert index.asked == [("tool", "25", "")]
