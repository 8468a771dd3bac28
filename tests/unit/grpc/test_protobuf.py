from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.grpc.protobuf import (
    Fixed32,
    Fixed64,
    Float,
    Int32,
    Int64,
    Malformed,
    Message,
    OneOf,
    Sfixed32,
    Sint32,
    Sint64,
    Uint32,
    Uint64,
    Unencodable,
    decode,
    encode,
)
from kubelite.limits import GRPC_VALUES


class Inner(Message):
    name: Annotated[str, 1] = ""
    numbers: Annotated[list[Int64], 2] = []
    deeper: Annotated["Inner | None", 3] = None


class Whole(Message):
    text: Annotated[str, 1] = ""
    number: Annotated[Int32, 2] = 0
    wide: Annotated[Int64, 3] = 0
    unsigned: Annotated[Uint32, 4] = 0
    far: Annotated[Uint64, 5] = 0
    zigzag: Annotated[Sint32, 6] = 0
    zigzag_wide: Annotated[Sint64, 7] = 0
    fixed: Annotated[Fixed32, 8] = 0
    fixed_wide: Annotated[Fixed64, 9] = 0
    signed_fixed: Annotated[Sfixed32, 10] = 0
    ratio: Annotated[float, 11] = 0.0
    small_ratio: Annotated[Float, 12] = 0.0
    flag: Annotated[bool, 13] = False
    data: Annotated[bytes, 14] = b""
    inner: Annotated[Inner | None, 15] = None
    inners: Annotated[list[Inner], 16] = []
    labels: Annotated[dict[str, str], 17] = {}
    counts: Annotated[dict[str, Int64], 18] = {}
    maybe: Annotated[Int32 | None, 19] = None
    left: Annotated[str | None, 20, OneOf("side")] = None
    right: Annotated[Inner | None, 21, OneOf("side")] = None
    packed: Annotated[list[Uint64], 300] = []


class Narrow(Message):
    """Knows one field of Whole."""

    number: Annotated[Int32, 2] = 0


def ints(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    return (
        st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)
        if signed
        else st.integers(0, (1 << bits) - 1)
    )


inners = st.recursive(
    st.builds(Inner, st.text(), st.lists(ints(64, signed=True))),
    lambda inner: st.builds(Inner, st.text(), st.just([]), inner),
    max_leaves=5,
)
wholes = st.builds(
    Whole,
    text=st.text(),
    number=ints(32, signed=True),
    wide=ints(64, signed=True),
    unsigned=ints(32, signed=False),
    far=ints(64, signed=False),
    zigzag=ints(32, signed=True),
    zigzag_wide=ints(64, signed=True),
    fixed=ints(32, signed=False),
    fixed_wide=ints(64, signed=False),
    signed_fixed=ints(32, signed=True),
    ratio=st.floats(allow_nan=False),
    small_ratio=st.floats(width=32, allow_nan=False),
    flag=st.booleans(),
    data=st.binary(),
    inner=st.none() | inners,
    inners=st.lists(inners, max_size=3),
    labels=st.dictionaries(st.text(), st.text(), max_size=3),
    counts=st.dictionaries(st.text(), ints(64, signed=True), max_size=3),
    maybe=st.none() | ints(32, signed=True),
    left=st.none() | st.text(),
    packed=st.lists(ints(64, signed=False), max_size=5),
)


@given(wholes)
def test_what_is_encoded_decodes_to_the_same(message: Whole) -> None:
    assert decode(Whole, encode(message)) == message
    assert decode(Narrow, encode(message)) == Narrow(message.number)  # the rest is skipped


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        found = decode(Whole, data)
    except Malformed:
        return
    assert decode(Whole, encode(found)) == found or "nan" in str(found)


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (Whole(), ""),
        (Whole(text="hi"), "0a026869"),
        (Whole(number=-1), "10ffffffffffffffffff01"),
        (Whole(zigzag=-1), "3001"),
        (Whole(flag=True), "6801"),
        (Whole(maybe=0), "980100"),
        (Whole(inner=Inner()), "7a00"),
        (Whole(left=""), "a20100"),
        (Whole(packed=[1, 300]), "e2120301ac02"),
        (Whole(labels={"a": "b"}), "8a01060a016112" + "0162"),
    ],
)
def test_the_wire_format_is_the_one_of_protobuf(message: Whole, wire: str) -> None:
    assert encode(message).hex() == wire
    assert decode(Whole, bytes.fromhex(wire)) == message


def test_a_message_in_pieces_is_merged() -> None:
    pieces = encode(Whole(inner=Inner("a", [1]))) + encode(Whole(inner=Inner("", [2])))
    assert decode(Whole, pieces).inner == Inner("a", [1, 2])


def test_of_a_oneof_the_last_member_counts() -> None:
    both = encode(Whole(left="a")) + encode(Whole(right=Inner("b")))
    assert decode(Whole, both) == Whole(right=Inner("b"))
    with pytest.raises(Unencodable, match="left, right"):
        encode(Whole(left="a", right=Inner()))


@pytest.mark.parametrize(
    "wire",
    [
        "0a",  # cut off
        "0a05",
        "0a0568",
        "10",
        "10ffffffffffffffffffff01",  # a varint of eleven bytes
        "4500",
        "0a02c328",  # not UTF-8
        "00",  # field 0
        "0e",  # wire type 6
        "a30501" + "a405",  # a group that another ends
        "a305" * 200,  # nested groups
    ],
)
def test_what_is_malformed_is_refused(wire: str) -> None:
    with pytest.raises(Malformed):
        decode(Whole, bytes.fromhex(wire))


def test_depth_and_number_of_values_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = Inner()
    for _ in range(200):
        deep = Inner(deeper=deep)
    with pytest.raises(Malformed, match="nested too deeply"):
        decode(Inner, encode(deep))
    monkeypatch.setattr(GRPC_VALUES, "value", 100)
    times = GRPC_VALUES.times_reached
    for many in (Whole(packed=[1] * 200), Whole(inners=[Inner()] * 200)):
        with pytest.raises(Malformed, match="too many values"):
            decode(Whole, encode(many))
    assert GRPC_VALUES.times_reached == times + 2


def test_a_value_that_does_not_fit_is_refused() -> None:
    for message in (Whole(number=1 << 31), Whole(unsigned=-1), Whole(fixed=1 << 32)):
        with pytest.raises(Unencodable, match="does not fit"):
            encode(message)
    with pytest.raises(Unencodable, match="UTF-8"):
        encode(Whole(text="\ud800"))


def test_messages_are_structs() -> None:
    assert msgspec.structs.asdict(Narrow(3)) == {"number": 3}
