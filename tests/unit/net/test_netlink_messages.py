"""Messages to and from the kernel."""

import pytest

from kubelite.net.netlink_messages import HEADER, decode_attributes, encode_attributes, messages


def test_attributes_are_padded_and_come_back() -> None:
    data = encode_attributes({1: b"abc", 3: b"", 7: b"12345678"})
    assert len(data) == 8 + 4 + 12
    assert decode_attributes(data) == {1: b"abc", 3: b"", 7: b"12345678"}


def test_flags_of_the_type_are_taken_off() -> None:
    assert decode_attributes(encode_attributes({0x8000 | 18: b"x"})) == {18: b"x"}


@pytest.mark.parametrize("data", [b"", b"\0\0\1\0", b"\3\0\1\0abcd", b"\4"])
def test_malformed_attributes_end_it(data: bytes) -> None:
    assert decode_attributes(data) == {}


def test_messages_of_a_datagram() -> None:
    one = HEADER.pack(HEADER.size + 3, 16, 2, 5, 0) + b"abc" + b"\0"
    two = HEADER.pack(HEADER.size, 3, 0, 5, 0)
    assert list(messages(one + two)) == [(16, 2, 5, b"abc"), (3, 0, 5, b"")]
    assert list(messages(b"\0" * 16)) == []
