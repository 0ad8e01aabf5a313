import pytest

from kedge.linux import capabilities as caps


def test_masks_follow_the_kernel_numbers() -> None:
    assert caps.mask_of(["CAP_CHOWN", "CAP_SYS_ADMIN"]) == 1 | 1 << 21
    assert caps.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        caps.mask_of(["CAP_NOTHING"])


def test_the_own_sets_agree_with_proc() -> None:
    with open("/proc/self/status", encoding="ascii") as file:
        lines = dict(line.split(":\t", 1) for line in file if line.startswith("Cap"))
    sets = caps.get_capabilities()
    assert sets.effective == int(lines["CapEff"], 16)
    assert sets.permitted == int(lines["CapPrm"], 16)
    assert caps.get_bounding() == int(lines["CapBnd"], 16)
