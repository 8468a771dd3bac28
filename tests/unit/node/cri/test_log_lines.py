"""The CRI's format of log lines."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.limits import LOG_PIECE
from kubelite.node.cri.log_lines import LineReader
from kubelite.node.runtime import LogEntry

TIME = "2026-05-01T10:00:00.123456789Z"


def read(reader: LineReader, pieces: Iterable[bytes]) -> list[LogEntry]:
    found = [entry for piece in pieces for entry in reader.feed(piece)]
    return [*found, *reader.end()]


def line(text: str, time: str = TIME, stream: str = "stdout", tags: str = "F") -> bytes:
    return f"{time} {stream} {tags} {text}\n".encode()


def test_whole_lines_end_and_parts_do_not() -> None:
    log = (
        line("one")
        + line("par", tags="P", stream="stderr")
        + line("t", tags="F:x", stream="stderr")
    )
    assert read(LineReader(), [log]) == [
        LogEntry(TIME, "stdout", b"one\n"),
        LogEntry(TIME, "stderr", b"par"),
        LogEntry(TIME, "stderr", b"t\n"),
    ]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("2026-05-01T10:00:00Z", "2026-05-01T10:00:00.000000000Z"),
        ("2026-05-01T10:00:00.5+02:00", "2026-05-01T10:00:00.500000000+02:00"),
    ],
)
def test_timestamps_have_nine_decimals(written: str, shown: str) -> None:
    assert read(LineReader(), [line("x", written)])[0].timestamp == shown


@pytest.mark.parametrize(
    "bad",
    [
        b"\n",
        b"text\n",
        b"2026-05-01T10:00:00Z stdin F x\n",
        b"2026-05-01T10:00:00Z stdout Fx\n",
        b"\xff" * 500 + b"\n",
    ],
)
def test_lines_in_another_form_are_dropped(bad: bytes) -> None:
    assert [e.data for e in read(LineReader(), [line("a") + bad + line("b")])] == [b"a\n", b"b\n"]


def test_empty_lines_and_bytes_that_are_no_text_stay_as_they_are() -> None:
    log = f"{TIME} stdout F ".encode()
    assert [e.data for e in read(LineReader(), [log + b"\n" + log + b"\xff\x00 \r\n"])] == [
        b"\n",
        b"\xff\x00 \r\n",
    ]


def test_a_last_line_without_end_is_shown_without_one() -> None:
    assert [e.data for e in read(LineReader(), [line("a"), line("b")[:-1]])] == [b"a\n", b"b"]


@pytest.mark.parametrize(
    ("time", "is_shown"),
    [
        ("2026-05-01T10:00:00.000001Z", True),
        ("2026-05-01T09:59:59.999999999Z", False),
        ("2026-05-01T10:00:00.000000Z", True),
        ("2026-05-01T12:00:01+02:00", True),
        ("2026-05-01T11:59:59+02:00", False),
        ("2026-13-01T11:59:59+02:00", True),
    ],
)
def test_lines_before_a_date_are_dropped(time: str, is_shown: bool) -> None:
    reader = LineReader(datetime(2026, 5, 1, 10, tzinfo=UTC))
    assert bool(read(reader, [line("x", time)])) is is_shown


def test_entries_that_were_given_before_are_dropped_once() -> None:
    reader = LineReader()
    times = [f"2026-05-01T10:00:0{second}.000000000Z" for second in (1, 2, 3, 2)]
    log = [line(str(number), time) for number, time in enumerate(times)]
    reader.after = times[1]
    assert [entry.data for entry in read(reader, log)] == [b"2\n", b"3\n"]


def test_a_line_beyond_all_measure_comes_in_pieces() -> None:
    reader = LineReader()
    pieces = [line("x" * 5 * LOG_PIECE.value), line("next")]
    whole = b"".join(pieces)
    size = LOG_PIECE.value // 3
    entries = read(reader, (whole[at : at + size] for at in range(0, len(whole), size)))
    assert b"".join(entry.data for entry in entries) == b"x" * 5 * LOG_PIECE.value + b"\nnext\n"
    assert max(len(entry.data) for entry in entries) <= LOG_PIECE.value + size
    assert {entry.timestamp for entry in entries} == {TIME}


def test_a_line_without_end_in_another_form_is_dropped_to_its_end() -> None:
    pieces = [b"?" * LOG_PIECE.value, b"?" * LOG_PIECE.value, line("tail"), line("next")]
    assert [entry.data for entry in read(LineReader(), pieces)] == [b"next\n"]


TEXTS = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]),
        st.sampled_from(["F", "P"]),
        st.text(st.characters(blacklist_characters="\n", blacklist_categories=["Cs"]), max_size=40),
    ),
    max_size=20,
)


@given(TEXTS, st.lists(st.integers(1, 60), max_size=40))
def test_a_file_may_be_read_in_any_pieces(
    texts: list[tuple[str, str, str]], cuts: list[int]
) -> None:
    whole = b"".join(line(text, stream=stream, tags=tags) for stream, tags, text in texts)
    pieces, place = [], 0
    for cut in [*cuts, len(whole)]:
        pieces.append(whole[place : place + cut])
        place += cut
    expected = [
        (stream, text.encode() + (b"\n" if tags == "F" else b"")) for stream, tags, text in texts
    ]
    assert [(e.stream, e.data) for e in read(LineReader(), pieces)] == expected


@given(st.binary(max_size=300))
def test_no_bytes_fail(data: bytes) -> None:
    read(LineReader(datetime(2026, 5, 1, tzinfo=UTC)), [data, data])
