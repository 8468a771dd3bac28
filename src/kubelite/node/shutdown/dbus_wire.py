"""The wire format of D-Bus (the D-Bus Specification 0.42): messages with typed values, little endian. Pure.

A value is an int, bool, float, str, list (array or struct), dict (array of dict entries) or `Variant`.
"""

import struct
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from kubelite.limits import DBUS_MESSAGE

METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL = 1, 2, 3, 4
NESTING_MAX = 32
_FIXED = {
    "y": struct.Struct("<B"),
    "n": struct.Struct("<h"),
    "q": struct.Struct("<H"),
    "i": struct.Struct("<i"),
    "u": struct.Struct("<I"),
    "h": struct.Struct("<I"),
    "x": struct.Struct("<q"),
    "t": struct.Struct("<Q"),
    "d": struct.Struct("<d"),
    "b": struct.Struct("<I"),
}
_ALIGNMENT = {**{code: made.size for code, made in _FIXED.items()}, "g": 1, "v": 1}
_HEAD_BYTES = 16  # up to the length of the header fields
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY, _DESTINATION, _SENDER, _SIGNATURE, _FDS = range(
    1, 10
)
_FIELD_TYPES = {_PATH: "o", _REPLY: "u", _SIGNATURE: "g", _FDS: "u"}


class DBusViolation(Exception):
    """The peer sent what is no message of D-Bus, or a larger one than is taken."""


class Variant(Struct, frozen=True):
    """A value with its type."""

    signature: str
    value: Any


class Message(Struct, frozen=True):
    """A message; texts are "" and numbers 0 where it has no such field."""

    type: int
    serial: int = 0
    path: str = ""
    interface: str = ""
    member: str = ""
    error_name: str = ""
    reply_to: int = 0
    destination: str = ""
    sender: str = ""
    signature: str = ""
    body: tuple[Any, ...] = ()
    fds: int = 0  # number of descriptors that come with it


def encode(message: Message) -> bytes:
    """Return the bytes of a message."""
    body = _Writer()
    for code, value in zip(split(message.signature), message.body, strict=True):
        body.write(code, value)
    texts = (
        (_PATH, message.path),
        (_INTERFACE, message.interface),
        (_MEMBER, message.member),
        (_ERROR_NAME, message.error_name),
        (_REPLY, message.reply_to),
        (_DESTINATION, message.destination),
        (_SENDER, message.sender),
        (_SIGNATURE, message.signature),
        (_FDS, message.fds),
    )
    fields = [
        [number, Variant(_FIELD_TYPES.get(number, "s"), value)] for number, value in texts if value
    ]
    head = _Writer()
    start = (ord("l"), message.type, 0, 1, len(body.data), message.serial, fields)
    for code, value in zip(("y", "y", "y", "y", "u", "u", "a(yv)"), start, strict=True):
        head.write(code, value)
    head.align(8)
    return bytes(head.data + body.data)


def message_length(data: bytes | bytearray) -> int:
    """Return the length of the message that `data` begins with, 0 if too little of it is there yet.

    Raises DBusViolation.
    """
    if len(data) < _HEAD_BYTES:
        return 0
    if data[0] != ord("l") or data[3] != 1:
        raise DBusViolation("it is no little-endian message of version 1")
    (body_bytes,) = _FIXED["u"].unpack_from(data, 4)
    (fields_bytes,) = _FIXED["u"].unpack_from(data, 12)
    length: int = _HEAD_BYTES + fields_bytes + -fields_bytes % 8 + body_bytes
    if length > DBUS_MESSAGE.value:
        DBUS_MESSAGE.reached()
        raise DBusViolation(f"a message of {length} bytes")
    return length


def decode(data: bytes) -> Message:
    """Return the message that the bytes are. Raises DBusViolation."""
    reader = _Reader(data)
    try:
        _, kind, _, _, _, serial = (reader.read(code) for code in "yyyyuu")
        fields = {number: variant.value for number, variant in reader.read("a(yv)")}
        reader.align(8)
        signature = str(fields.get(_SIGNATURE, ""))
        body = tuple(reader.read(code) for code in split(signature))
    except (struct.error, IndexError, UnicodeDecodeError, RecursionError) as error:
        raise DBusViolation(f"a message cannot be read: {error}") from error

    def text(number: int) -> str:
        value = fields.get(number, "")
        return value if isinstance(value, str) else ""

    def number(field: int) -> int:
        value = fields.get(field, 0)
        return value if isinstance(value, int) else 0

    return Message(
        kind,
        serial,
        text(_PATH),
        text(_INTERFACE),
        text(_MEMBER),
        text(_ERROR_NAME),
        number(_REPLY),
        text(_DESTINATION),
        text(_SENDER),
        signature,
        body,
        number(_FDS),
    )


def split(signature: str) -> list[str]:
    """Return the complete types that a signature has one after the other. Raises DBusViolation."""
    found = []
    at = 0
    while at < len(signature):
        end = _end_of_type(signature, at, 0)
        found.append(signature[at:end])
        at = end
    return found


def _end_of_type(signature: str, at: int, depth: int) -> int:
    if depth > NESTING_MAX or at >= len(signature):
        raise DBusViolation("a signature nests too deep or ends too early")
    code = signature[at]
    if code == "a":
        return _end_of_type(signature, at + 1, depth + 1)
    if code in "({":
        at += 1
        while at < len(signature) and signature[at] not in ")}":
            at = _end_of_type(signature, at, depth + 1)
        if at >= len(signature):
            raise DBusViolation("a signature ends too early")
        return at + 1
    if code not in _FIXED and code not in "sogv":
        raise DBusViolation("a signature has an unknown type")
    return at + 1


def _alignment(code: str) -> int:
    return 8 if code[0] in "({" else _ALIGNMENT.get(code[0], 4)


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, to: int) -> None:
        self.data += bytes(-len(self.data) % to)

    def write(self, code: str, value: Any) -> None:
        self.align(_alignment(code))
        if code in _FIXED:
            self.data += _FIXED[code].pack(value)
        elif code in ("s", "o", "g"):
            encoded = value.encode()
            self.data += _FIXED["y" if code == "g" else "u"].pack(len(encoded))
            self.data += encoded + b"\0"
        elif code == "v":
            self.write("g", value.signature)
            self.write(value.signature, value.value)
        elif code[0] == "a":
            self._write_array(code[1:], value)
        else:
            for inner, one in zip(split(code[1:-1]), value, strict=True):
                self.write(inner, one)

    def _write_array(self, inner: str, value: Any) -> None:
        at = len(self.data)
        self.data += bytes(4)
        self.align(_alignment(inner))
        start = len(self.data)
        items: Sequence[Any] = list(value.items()) if isinstance(value, dict) else value
        for one in items:
            self.write(inner, one)
        _FIXED["u"].pack_into(self.data, at, len(self.data) - start)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._depth = 0

    def align(self, to: int) -> None:
        self._at += -self._at % to

    def read(self, code: str) -> Any:
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise DBusViolation("a value nests too deep")
        self.align(_alignment(code))
        value = self._value(code)
        self._depth -= 1
        return value

    def _value(self, code: str) -> Any:
        if code in _FIXED:
            (value,) = _FIXED[code].unpack_from(self._data, self._at)
            self._at += _FIXED[code].size
            return bool(value) if code == "b" else value
        if code in ("s", "o", "g"):
            length = self.read("y" if code == "g" else "u")
            return self._text(length)
        if code == "v":
            (inner, *more) = split(self.read("g")) or [""]
            if not inner or more:
                raise DBusViolation("a variant is not of one type")
            return Variant(inner, self.read(inner))
        if code[0] == "a":
            return self._array(code[1:])
        return [self.read(inner) for inner in split(code[1:-1])]

    def _text(self, length: int) -> str:
        end = self._at + length
        if end >= len(self._data):
            raise DBusViolation("a text is longer than its message")
        text = self._data[self._at : end].decode()
        self._at = end + 1
        return text

    def _array(self, inner: str) -> Any:
        length = self.read("u")
        self.align(_alignment(inner))
        end = self._at + length
        if end > len(self._data):
            raise DBusViolation("an array is longer than its message")
        found = []
        while self._at < end:
            before = self._at
            found.append(self.read(inner))
            if self._at == before:
                raise DBusViolation("an array has elements without content")
        return {str(key): value for key, value in found} if inner[0] == "{" else found
