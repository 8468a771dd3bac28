"""Messages of D-Bus: what is written reads back, and whatever bytes come, they are read in bounded time or refused."""

import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.limits import DBUS_MESSAGE
from kubelite.node.shutdown.dbus_wire import (
    METHOD_CALL,
    SIGNAL,
    DBusViolation,
    Message,
    Variant,
    decode,
    encode,
    message_length,
    split,
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
BASIC: dict[str, st.SearchStrategy[Any]] = {
    "y": st.integers(0, 255),
    "b": st.booleans(),
    "n": st.integers(-(2**15), 2**15 - 1),
    "q": st.integers(0, 2**16 - 1),
    "i": st.integers(-(2**31), 2**31 - 1),
    "u": st.integers(0, 2**32 - 1),
    "x": st.integers(-(2**63), 2**63 - 1),
    "t": st.integers(0, 2**64 - 1),
    "d": st.floats(allow_nan=False),
    "s": texts,
    "o": texts,
    "g": st.sampled_from(["", "s", "a{sv}", "(ii)"]),
}
Typed = tuple[str, Any]


def _array(inner: Typed) -> st.SearchStrategy[Typed]:
    code, value = inner
    return st.integers(0, 3).map(lambda count: (f"a{code}", [value] * count))


def _container(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return st.one_of(
        inner.flatmap(_array),
        inner.map(lambda typed: ("v", Variant(*typed))),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda many: (f"({''.join(code for code, _ in many)})", [value for _, value in many])
        ),
        st.tuples(texts, inner).map(lambda pair: (f"a{{s{pair[1][0]}}}", {pair[0]: pair[1][1]})),
    )


basic = st.sampled_from(sorted(BASIC)).flatmap(
    lambda code: BASIC[code].map(lambda value: (code, value))
)
values = st.recursive(basic, _container, max_leaves=6)


@given(st.lists(values, max_size=4), st.integers(1, 2**32 - 1), texts)
def test_what_is_written_reads_back(body: list[Typed], serial: int, member: str) -> None:
    signature = "".join(code for code, _ in body)
    message = Message(
        METHOD_CALL,
        serial,
        "/a/b",
        "a.b",
        member,
        destination=":1.1",
        signature=signature,
        body=tuple(value for _, value in body),
    )
    data = encode(message)
    assert message_length(data) == len(data)
    assert decode(data) == message
    assert [message_length(data[:16] + b"more") for _ in (1,)] == [len(data)]


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, begins_well: bool) -> None:
    if begins_well:
        data = b"l\4\0\1" + data
    with suppress(DBusViolation):
        if 0 < message_length(data) <= len(data):
            decode(data)


@given(st.lists(values, max_size=3), st.integers(0, 400), st.integers(0, 255))
def test_a_garbled_message_is_read_or_refused(body: list[Typed], at: int, byte: int) -> None:
    signature = "".join(code for code, _ in body)
    data = bytearray(
        encode(Message(SIGNAL, 1, "/a", signature=signature, body=tuple(one for _, one in body)))
    )
    data[at % len(data)] = byte
    with suppress(DBusViolation):
        if 0 < message_length(data) <= len(data):
            decode(bytes(data))


@given(st.text("abcsvgyi(){}", max_size=80))
def test_any_signature_is_split_or_refused(signature: str) -> None:
    with suppress(DBusViolation):
        assert "".join(split(signature)) == signature


def test_what_costs_much_is_refused() -> None:
    huge = struct.pack("<4BIII", ord("l"), 1, 0, 1, DBUS_MESSAGE.value, 1, 0)
    with pytest.raises(DBusViolation, match="bytes"):
        message_length(huge)
    for signature in ("a" * 1000, "(" * 1000, "()" * 3 + "(", "a"):
        with pytest.raises(DBusViolation):
            split(signature)
    nested: Any = Variant("s", "x")
    for _ in range(100):
        nested = Variant("v", nested)
    with pytest.raises(DBusViolation):
        decode(encode(Message(SIGNAL, 1, signature="v", body=(nested,))))
    empty = encode(Message(SIGNAL, 1, signature="a()", body=([[]] * 3,)))
    with suppress(DBusViolation):
        decode(empty)
