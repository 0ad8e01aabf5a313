from kedge.runtime.cgroups.stats import (
    UNLIMITED,
    BlkioEntry,
    parse_blkio,
    parse_flat_keyed,
    parse_io_stat,
    parse_limit,
    parse_number,
)


def test_flat_keyed_leaves_out_what_is_no_number() -> None:
    assert parse_flat_keyed("a 1\nb max\nc\n\nd 2") == {"a": 1, "d": 2}


def test_every_way_to_say_unlimited() -> None:
    assert [parse_limit(text) for text in ("max\n", "9223372036854771712\n", "", "-1")] == [
        UNLIMITED
    ] * 4
    assert parse_limit("4096\n") == 4096


def test_number_of_a_missing_file_is_zero() -> None:
    assert [parse_number(""), parse_number("7\n")] == [0, 7]


def test_v1_block_lines() -> None:
    text = "8:16 Read 5\n8:16 Total 5\nTotal 5\n"
    assert parse_blkio(text) == (BlkioEntry(8, 16, "Read", 5), BlkioEntry(8, 16, "Total", 5))


def test_v2_io_stat_lines() -> None:
    text = "8:0 rbytes=1 wbytes=2 rios=3\n253:1 rbytes=9 cost.usage=4\n"
    assert parse_io_stat(text, {"rbytes": "read"}) == (
        BlkioEntry(8, 0, "read", 1),
        BlkioEntry(253, 1, "read", 9),
    )
