"""Docker's config.json: what kedge takes from it."""

import json
from pathlib import Path

import pytest

from kedge.cli.config import change_config, load_config, proxy_environment
from kedge.errdefs import InvalidParameterError
from tests.unit.cli.fake_engine import FakeEngine, Run


def write(folder: Path, document: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(document))


def test_formats_of_lists(fake: FakeEngine, kedge: Run, docker_folder: Path) -> None:
    write(docker_folder, {"psFormat": "{{.Names}}", "volumesFormat": "<{{.Name}}>"})
    fake.say("GET /containers/json", [{"Id": "1" * 64, "Names": ["/web"]}])
    fake.say("GET /volumes", {"Volumes": [{"Name": "v"}]})
    assert kedge("ps")[1] == "web\n"
    assert kedge("ps", "-q")[1] == "111111111111\n"
    assert kedge("ps", "--format", "{{.ID}}")[1] == "111111111111\n"
    assert kedge("volume", "ls")[1] == "<v>\n"


def test_proxies_reach_containers(fake: FakeEngine, kedge: Run, docker_folder: Path) -> None:
    write(docker_folder, {"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "x"}}})
    fake.say("POST /containers/create", {"Id": "1"}, status=201)
    kedge("create", "-e", "HTTP_PROXY=mine", "i")
    document = fake.asked[0].document
    assert isinstance(document, dict)
    assert document["Env"] == [
        "HTTP_PROXY=mine",
        "http_proxy=http://p:1",
        "NO_PROXY=x",
        "no_proxy=x",
    ]


def test_detach_keys(fake: FakeEngine, kedge: Run, docker_folder: Path) -> None:
    write(docker_folder, {"detachKeys": "ctrl-e,e"})
    fake.say("POST /containers/c/exec", {"message": "stop here"}, status=409)
    kedge("exec", "c", "x")
    document = fake.asked[0].document
    assert isinstance(document, dict)
    assert document["DetachKeys"] == "ctrl-e,e"


def test_prune_filters(fake: FakeEngine, kedge: Run, docker_folder: Path) -> None:
    write(docker_folder, {"pruneFilters": ["label!=keep"]})
    kedge("network", "prune", "-f")
    assert fake.lines == ['POST /networks/prune?filters={"label!": {"keep": true}}']


def test_a_damaged_file_is_named(docker_folder: Path) -> None:
    docker_folder.mkdir()
    (docker_folder / "config.json").write_text("{")
    with pytest.raises(InvalidParameterError, match=r"config\.json is not JSON"):
        load_config()


def test_changing_follows_links_and_leaves_the_rest(docker_folder: Path, tmp_path: Path) -> None:
    docker_folder.mkdir()
    (tmp_path / "real.json").write_text('{"x": 1}')
    (docker_folder / "config.json").symlink_to(tmp_path / "real.json")
    change_config("currentContext", "a")
    assert json.loads((tmp_path / "real.json").read_text()) == {"x": 1, "currentContext": "a"}
    assert (docker_folder / "config.json").is_symlink()
    change_config("currentContext", "")
    assert load_config() == {"x": 1}
    assert proxy_environment([]) == []
