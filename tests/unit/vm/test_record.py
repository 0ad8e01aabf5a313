from pathlib import Path

from tests.vm.record import keep, with_section


def test_a_stage_that_ran_again_stands_where_it_stood(tmp_path: Path) -> None:
    path = tmp_path / "record"
    for section in (
        "== Linux 6.12: limits\nday one\n=== 1 failed ===\n",
        "== Linux 6.12: reboot\nday one\n\nPASSED\n",
        "== Linux 6.1: limits\nday one\nPASSED\n",
        "== Linux 6.12: limits\nday two\n=== 1 passed ===\n",
    ):
        keep(path, section)
    heading, *lines = path.read_text().splitlines()
    assert heading.startswith("What make test-vm printed")
    assert [line for line in lines if line] == [
        *("== Linux 6.12: limits", "day two", "=== 1 passed ==="),
        *("== Linux 6.12: reboot", "day one", "PASSED"),
        *("== Linux 6.1: limits", "day one", "PASSED"),
    ]


def test_what_another_heading_preceded_is_kept() -> None:
    old = "Output of make test-vm\n\n== Linux 6.12: limits\nPASSED\n"
    new = with_section(old, "== Linux 6.12: reboot\nPASSED\n")
    assert new.count("== Linux ") == 2
    assert with_section(new, "== Linux 6.12: reboot\nPASSED\n") == new
