"""Frames: what is sent comes out however the bytes were split, and what is no frame is a typed error."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.tunnel.frames import (
    FRAME_BYTES_MAX,
    HEAD_BYTES,
    OF_TUNNEL,
    PAYLOAD_BYTES_MAX,
    PAYLOADS,
    STREAM_MAX,
    TEXT_BYTES_MAX,
    BrokenTunnel,
    Frame,
    FrameReader,
    FrameType,
    encode,
    encode_text,
)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    frame_type = draw(st.sampled_from(FrameType))
    shortest, longest = PAYLOADS[frame_type]
    payload = draw(st.binary(min_size=shortest, max_size=min(longest, 64)))
    stream = 0 if frame_type in OF_TUNNEL else draw(st.integers(1, STREAM_MAX))
    return Frame(frame_type, stream, payload)


def encoded(sent: list[Frame]) -> bytes:
    return b"".join(encode(one.type, one.stream, one.payload) for one in sent)


@given(st.lists(frames(), max_size=20), st.lists(st.integers(0, 40), max_size=40))
def test_any_splitting_into_reads_gives_the_same_frames(sent: list[Frame], cuts: list[int]) -> None:
    data, reader, received = encoded(sent), FrameReader(), []
    for cut in cuts:
        received += reader.feed(data[:cut])
        data = data[cut:]
    received += reader.feed(data)
    assert received == sent


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_garbage_is_frames_or_a_typed_error(reads: list[bytes]) -> None:
    reader = FrameReader()
    with suppress(BrokenTunnel):
        for data in reads:
            for frame in reader.feed(data):
                shortest, longest = PAYLOADS[frame.type]
                assert shortest <= len(frame.payload) <= longest


@given(frames(), st.data())
def test_a_reader_holds_less_than_a_frame(frame: Frame, data: st.DataObject) -> None:
    whole = encode(frame.type, frame.stream, frame.payload)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert FrameReader().feed(whole[:cut]) == []


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"\0" + bytes(7), "unknown type 0"),
        (b"\x0a" + bytes(7), "unknown type 10"),
        (b"GET / HTTP/1.1\r\n", "unknown type 71"),
        (b"\x04\0\0\0\1\xff\xff\xff", "DATA has a payload of 16777215 bytes"),
        (b"\x04\0\0\0\1\0\0\0", "DATA has a payload of 0 bytes"),
        (b"\x05\0\0\0\1\0\0\3", "WINDOW has a payload of 3 bytes"),
        (b"\x06\0\0\0\1\0\0\1", "END has a payload of 1 bytes"),
        (b"\x04\0\0\0\0\0\0\1", "DATA names stream 0"),
        (b"\x08\0\0\0\1\0\0\0", "PING names stream 1"),
    ],
)
def test_what_is_no_frame(broken: bytes, reason: str) -> None:
    with pytest.raises(BrokenTunnel, match=reason):
        FrameReader().feed(broken)


def test_a_frame_fits_one_tls_record() -> None:
    assert len(encode(FrameType.DATA, 1, bytes(PAYLOAD_BYTES_MAX))) == FRAME_BYTES_MAX == 16_384
    assert HEAD_BYTES == 8


@given(st.text(max_size=2000))
def test_texts_are_cut_and_shown_on_one_line(text: str) -> None:
    whole = encode_text(FrameType.FAILED, 1, text)
    (frame,) = FrameReader().feed(whole)
    assert len(frame.payload) <= TEXT_BYTES_MAX
    assert frame.text.isprintable()


def test_a_text_that_is_no_text_is_shown_all_the_same() -> None:
    assert Frame(FrameType.FAILED, 1, b"no\n \xff\x1b[31m way").text.startswith("no ")
    assert Frame(FrameType.FAILED, 1, b"no\n \xff\x1b[31m way").text.isprintable()
