import pytest

from kedge.api.types.config import ContainerConfig
from kedge.engine.merge import command_line, merge_config, merge_env, process_env
from kedge.errdefs import InvalidParameterError
from kedge.oci.image_spec import ContainerConfig as ImageDefaults
from kedge.oci.image_spec import Healthcheck

IMAGE = ImageDefaults(
    env=["PATH=/bin", "A=1"],
    cmd=["serve"],
    entrypoint=["/entry"],
    working_dir="/app",
    user="web",
    exposed_ports={"80/tcp": {}},
    labels={"a": "image", "b": "image"},
)


def test_the_image_fills_what_is_left_open() -> None:
    merged = merge_config(ContainerConfig(image="x"), IMAGE)
    assert command_line(merged) == ["/entry", "serve"]
    assert (merged.working_dir, merged.user) == ("/app", "web")
    assert list(merged.exposed_ports) == ["80/tcp"]


def test_a_command_of_its_own_keeps_the_images_entrypoint() -> None:
    assert command_line(merge_config(ContainerConfig(cmd=["ls"]), IMAGE)) == ["/entry", "ls"]


def test_an_entrypoint_of_its_own_drops_the_images_command() -> None:
    assert command_line(merge_config(ContainerConfig(entrypoint=["sh"]), IMAGE)) == ["sh"]


def test_an_empty_entrypoint_resets_the_images() -> None:
    merged = merge_config(ContainerConfig(entrypoint=[""], cmd=["ls"]), IMAGE)
    assert command_line(merged) == ["ls"]


def test_no_command_at_all_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="no command specified"):
        command_line(merge_config(ContainerConfig(), ImageDefaults()))


def test_labels_of_the_container_win() -> None:
    merged = merge_config(ContainerConfig(labels={"b": "own"}), IMAGE)
    assert merged.labels == {"a": "image", "b": "own"}


def test_env_is_replaced_in_place() -> None:
    assert merge_env(["A=1", "B=2"], ["A=3", "C=4"]) == ["A=3", "B=2", "C=4"]


def test_a_name_without_value_unsets_a_variable() -> None:
    merged = merge_config(ContainerConfig(env=["A"], hostname="h"), IMAGE)
    assert "A" not in {item.partition("=")[0] for item in process_env(merged)}


def test_process_env_has_path_hostname_and_term() -> None:
    env = process_env(ContainerConfig(hostname="h", tty=True))
    assert {item.partition("=")[0] for item in env} == {"PATH", "HOSTNAME", "TERM"}
    assert "PATH=/bin" in process_env(merge_config(ContainerConfig(hostname="h"), IMAGE))


def test_health_check_fields_are_inherited_one_by_one() -> None:
    image = ImageDefaults(healthcheck=Healthcheck(test=["CMD", "true"], interval=5, retries=2))
    merged = merge_config(ContainerConfig(), image)
    assert merged.healthcheck is not None
    assert merged.healthcheck.test == ["CMD", "true"]
    assert merged.healthcheck.interval == 5
