"""Reads the literals of an expression: numbers within their ranges, and texts with escapes."""

import math
import re
from typing import Final

from kubelite.cel.values import INT_MAX, INT_MIN, UINT_MAX, UInt

_SIMPLE: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "`": "`",
    "?": "?",
}
_HEX_DIGITS: Final = {"x": 2, "X": 2, "u": 4, "U": 8}
_ESCAPE: Final = re.compile(r"\\(?:([0-3][0-7]{2})|([xX]..|u.{4}|U.{8})|(.))", re.DOTALL)


def read_int(text: str) -> int:
    """Return a signed integer; raises ValueError."""
    sign = -1 if text.startswith("-") else 1
    digits = text.removeprefix("-")
    value = sign * (int(digits, 16) if digits.startswith("0x") else _decimal(digits))
    if not INT_MIN <= value <= INT_MAX:
        raise ValueError("invalid int literal")
    return value


def read_uint(text: str) -> UInt:
    """Return an unsigned integer, written with its suffix; raises ValueError."""
    digits = text[:-1]
    value = int(digits, 16) if digits.startswith("0x") else _decimal(digits)
    if value > UINT_MAX:
        raise ValueError("invalid uint literal")
    return UInt(value)


def _decimal(digits: str) -> int:
    """Return a number of any length; past 64 bits it only has to be too large, so Python's limit does not matter."""
    return int(digits) if len(digits) < 100 else int(digits.lstrip("0")[:100] or "0")


def read_double(text: str) -> float:
    """Return a double; raises ValueError where it is none."""
    value = float(text)
    if math.isinf(value):
        raise ValueError("invalid double literal")
    return value


def read_string(text: str) -> str:
    """Return the string that a token of quotes stands for; raises ValueError."""
    is_raw, body = _unquote(text)
    if is_raw or "\\" not in body:
        return body
    return _ESCAPE.sub(_character, body)


def read_bytes(text: str) -> bytes:
    """Return the bytes that a token of quotes without its `b` stands for; raises ValueError."""
    is_raw, body = _unquote(text)
    if is_raw or "\\" not in body:
        return body.encode()
    parts: list[bytes] = []
    end = 0
    for found in _ESCAPE.finditer(body):
        parts.append(body[end : found.start()].encode())
        parts.append(_octets(found))
        end = found.end()
    parts.append(body[end:].encode())
    return b"".join(parts)


def _unquote(text: str) -> tuple[bool, str]:
    """Return whether a string is raw, and what stands between its quotes; line ends become newlines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    is_raw = text[0] in "rR"
    if is_raw:
        text = text[1:]
    width = 3 if len(text) >= 6 and text[:3] in ("'''", '"""') else 1
    return is_raw, text[width:-width]


def _character(found: re.Match[str]) -> str:
    octal, wide, simple = found.groups()
    if simple is not None:
        return _SIMPLE[simple]
    code = int(octal, 8) if octal is not None else int(wide[1:], 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ValueError("invalid unicode code point")
    return chr(code)


def _octets(found: re.Match[str]) -> bytes:
    octal, wide, simple = found.groups()
    if simple is not None:
        return _SIMPLE[simple].encode()
    if octal is not None:
        return bytes((int(octal, 8),))
    if wide[0] in "uU":
        raise ValueError("unable to unescape string")
    return bytes((int(wide[1:], 16),))
