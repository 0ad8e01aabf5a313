import json
from pathlib import Path

import pytest

from kedge.daemon.config import load_config
from kedge.errdefs import InvalidParameterError


def test_flags_of_dockerds_spelling(tmp_path: Path) -> None:
    empty = tmp_path / "daemon.json"
    empty.write_text("{}")
    config = load_config(
        [
            "--config-file", str(empty), "-H", "unix:///a.sock", "-H", "tcp://127.0.0.1:1",
            "--data-root", "/d", "--dns", "1.1.1.1", "--iptables=false", "--live-restore=false",
            "--log-opt", "max-size=1m",
        ]
    )  # fmt: skip
    assert config.listen == ("unix:///a.sock", "tcp://127.0.0.1:1")
    assert (config.data_root, config.dns) == ("/d", ("1.1.1.1",))
    assert not config.iptables
    assert not config.live_restore
    assert config.log_opts == {"max-size": "1m"}


def test_the_default_socket_is_below_the_exec_root(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps({"exec-root": "/run/x"}))
    assert load_config(["--config-file", str(file)]).listen == ("unix:///run/x/kedge.sock",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ("[]", "not a JSON object"),
        ('{"colour": 1}', "unknown directives: colour"),
        ('{"mtu": "big"}', "mtu: 'big' is not of the right type"),
        ('{"debug": 1}', "debug: 1 is not of the right type"),
        ('{"host-certs": "maybe"}', "want auto, true or false"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(text)
    with pytest.raises(InvalidParameterError, match=message) as failure:
        load_config(["--config-file", str(file)])
    assert "\n" not in str(failure.value)


def test_a_setting_in_both_places_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"mtu": 1400}')
    with pytest.raises(InvalidParameterError, match="both as a flag and in the configuration file"):
        load_config(["--config-file", str(file), "--mtu", "1300"])


def test_a_file_that_was_named_must_exist() -> None:
    with pytest.raises(InvalidParameterError, match="does not exist"):
        load_config(["--config-file", "/nowhere/daemon.json"])
