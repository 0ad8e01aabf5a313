import pytest

from kedge.linux import mount as lm
from kedge.runtime.mount_options import option_names, parse_mount_options


def test_docker_s_options_of_dev() -> None:
    found = parse_mount_options(["nosuid", "strictatime", "mode=755", "size=65536k"])
    assert found.attr_set == lm.MOUNT_ATTR_NOSUID | lm.MOUNT_ATTR_STRICTATIME
    assert found.data == (("mode", "755"), ("size", "65536k"))


@pytest.mark.parametrize(
    ("options", "set_bits", "clear_bits"),
    [
        (["ro", "rw"], 0, lm.MOUNT_ATTR_RDONLY),
        (["rw", "ro"], lm.MOUNT_ATTR_RDONLY, 0),
        (["noexec", "exec", "noexec"], lm.MOUNT_ATTR_NOEXEC, 0),
    ],
)
def test_the_last_word_counts(options: list[str], set_bits: int, clear_bits: int) -> None:
    found = parse_mount_options(options)
    assert (found.attr_set, found.attr_clr) == (set_bits, clear_bits)


def test_an_access_time_replaces_the_whole_field() -> None:
    found = parse_mount_options(["noatime", "strictatime"])
    assert found.attr_set == lm.MOUNT_ATTR_STRICTATIME
    assert found.attr_clr == lm.MOUNT_ATTR__ATIME


def test_recursive_forms_and_propagation() -> None:
    found = parse_mount_options(["rbind", "rro", "rprivate", "slave"])
    assert found.bind
    assert found.recursive_bind
    assert found.recursive_set == lm.MOUNT_ATTR_RDONLY
    assert found.attr_set == 0
    assert found.propagation == ((lm.MS_PRIVATE, True), (lm.MS_SLAVE, False))


def test_unknown_words_belong_to_the_file_system() -> None:
    assert parse_mount_options(["userxattr", "redirect_dir=on"]).data == (
        ("userxattr", None),
        ("redirect_dir", "on"),
    )


def test_every_known_name_leaves_no_data() -> None:
    for name in option_names():
        assert parse_mount_options([name]).data == (), name
