import json
import shlex
from pathlib import Path

import pytest

from kedge.daemon.config import load_config
from kedge.errdefs import InvalidParameterError


def load(tmp_path: Path, document: dict[str, object], *flags: str) -> list[object]:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps(document))
    config = load_config(["--config-file", str(path), *flags])
    return [config.default_shm_size, config.default_ulimits, config.runtimes, config.init]


def test_flags_and_file_say_the_same(tmp_path: Path) -> None:
    flags = load(
        tmp_path, {}, "--default-shm-size", "1g", "--default-ulimit", "nofile=5:9",
        "--add-runtime", "crun=/usr/bin/crun", "--init",
    )  # fmt: skip
    document: dict[str, object] = {
        "default-shm-size": "1G",
        "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 5, "Hard": 9}},
        "runtimes": {"crun": {"path": "/usr/bin/crun"}},
        "init": True,
    }
    assert load(tmp_path, document) == flags
    assert flags == [1 << 30, {"nofile": "5:9"}, {"crun": "/usr/bin/crun"}, True]


def test_a_runtime_with_arguments_for_all_containers(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    runtime = {"path": "/a b/crun", "runtimeArgs": ["--debug", "x y"]}
    path.write_text(json.dumps({"runtimes": {"crun": runtime}, "default-runtime": "crun"}))
    config = load_config(["--config-file", str(path)])
    assert config.default_runtime == "crun"
    assert shlex.split(config.runtimes["crun"]) == ["/a b/crun", "--debug", "x y"]
    config = load_config(["--config-file", str(path), "--debug"])
    assert config.debug


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--default-shm-size", "big"], "want a size such as 64m"),
        (["--default-ulimit", "nofile"], "want NAME=VALUE"),
        (["--default-ulimit", "files=1"], "want name=soft"),
        (["--default-ulimit", "nofile=x"], "want name=soft"),
        (["--add-runtime", "=x"], "want NAME=VALUE"),
        (["--default-ipc-mode", "host"], 'IPC mode "host" is not supported as default'),
        (["--default-cgroupns-mode", "x"], 'default cgroup namespace mode "x" is invalid'),
    ],
)
def test_bad_flags(tmp_path: Path, flags: list[str], text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        load(tmp_path, {}, *flags)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"runtimes": {"x": {}}}, "runtimes: x: want an object with a path"),
        ({"runtimes": {"x": {"path": "/x", "runtimeType": "a"}}}, "runtimeType is not supported"),
        ({"runtimes": {"x": {"path": "/x", "runtimeArgs": "a"}}}, "want a list of texts"),
        ({"default-runtime": "x"}, "specified default runtime 'x' does not exist"),
        ({"default-ulimits": {"nofile": 5}}, "want an object with Soft and Hard"),
    ],
)
def test_bad_files(tmp_path: Path, document: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        load(tmp_path, document)
