"""Header blocks in one frame and in several."""

import pytest

from kubelite.grpc import frames
from kubelite.grpc.frames import ConnectionViolation, ErrorCode
from kubelite.grpc.header_blocks import HeaderBlock, HeaderBlocks
from kubelite.limits import GRPC_HEADERS

END, LAST = frames.END_HEADERS, frames.END_STREAM


def _blocks() -> HeaderBlocks:
    return HeaderBlocks(GRPC_HEADERS, 3)


def test_a_block_of_one_frame() -> None:
    blocks = _blocks()
    assert blocks.begin(END | LAST, 5, b"abc") == HeaderBlock(5, True, b"abc")
    assert not blocks.is_open
    assert blocks.begin(END, 7, b"") == HeaderBlock(7, False, b"")


def test_a_block_of_several_frames_ends_the_stream_as_its_first_one_says() -> None:
    blocks = _blocks()
    assert blocks.begin(LAST, 5, b"a") is None
    assert blocks.is_open
    assert blocks.go_on(0, b"b") is None
    assert blocks.go_on(END, b"c") == HeaderBlock(5, True, b"abc")
    assert not blocks.is_open


def test_priorities_are_left_out() -> None:
    block = _blocks().begin(END | frames.HAS_PRIORITY, 1, bytes(5) + b"x")
    assert block == HeaderBlock(1, False, b"x")
    with pytest.raises(ConnectionViolation, match="HEADERS is cut off"):
        _blocks().begin(END | frames.HAS_PRIORITY, 1, bytes(4))


@pytest.mark.parametrize(
    ("kind", "number", "is_allowed"),
    [
        (frames.CONTINUATION, 5, True),
        (frames.CONTINUATION, 7, False),
        (frames.HEADERS, 5, False),
        (frames.DATA, 5, False),
        (frames.PING, 0, False),
    ],
)
def test_nothing_comes_between_the_frames_of_a_block(
    kind: int, number: int, is_allowed: bool
) -> None:
    blocks = _blocks()
    blocks.check(kind, number)
    blocks.begin(0, 5, b"")
    if is_allowed:
        blocks.check(kind, number)
        return
    with pytest.raises(ConnectionViolation, match="a header block is interrupted") as error:
        blocks.check(kind, number)
    assert error.value.code is ErrorCode.PROTOCOL_ERROR


def test_a_continuation_needs_a_beginning() -> None:
    with pytest.raises(ConnectionViolation, match="CONTINUATION has no HEADERS"):
        _blocks().go_on(END, b"")


@pytest.mark.parametrize(
    ("first", "parts"), [(GRPC_HEADERS.value + 1, 0), (GRPC_HEADERS.value, 1), (0, 4)]
)
def test_a_block_is_bounded_in_bytes_and_in_frames(first: int, parts: int) -> None:
    blocks, before = _blocks(), GRPC_HEADERS.times_reached
    with pytest.raises(ConnectionViolation, match="the headers are too large") as error:  # noqa: PT012 - any of them
        blocks.begin(0, 1, bytes(first))
        for _ in range(parts):
            blocks.go_on(0, b"x" if first else b"")
    assert error.value.code is ErrorCode.ENHANCE_YOUR_CALM
    assert GRPC_HEADERS.times_reached == before + 1
