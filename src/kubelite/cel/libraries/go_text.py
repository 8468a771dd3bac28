"""Texts of values as Go writes them in messages: quoted strings, and any value."""

from kubelite.cel.conversions import double_to_string
from kubelite.cel.libraries.bounds import check_text
from kubelite.cel.times import format_duration, format_timestamp
from kubelite.cel.types import Type
from kubelite.cel.values import Duration, Optional, Timestamp, Value, type_of

_ESCAPES = {
    "\\a": "\a",
    "\\b": "\b",
    "\\f": "\f",
    "\\n": "\n",
    "\\r": "\r",
    "\\t": "\t",
    "\\v": "\v",
    '\\"': '"',
    "\\\\": "\\",
}
_BY_LETTER = {letter: escape for escape, letter in _ESCAPES.items()}


def quote(text: str) -> str:
    """Return a text in double quotes, with everything escaped that cannot be printed."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(letter: str) -> str:
    if letter in _BY_LETTER:
        return _BY_LETTER[letter]
    if letter.isprintable():
        return letter
    point = ord(letter)
    if point < 0x20 or point == 0x7F:
        return f"\\x{point:02x}"
    if 0xD800 <= point < 0xE000:
        return "\ufffd"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def quote_bytes(data: bytes) -> str:
    r"""Return bytes in double quotes; what is not UTF-8 is written as ``\x..``."""
    parts = []
    while data:
        try:
            parts.append(quote(data.decode())[1:-1])
            break
        except UnicodeDecodeError as error:
            parts.append(quote(data[: error.start].decode())[1:-1])
            parts.append(f"\\x{data[error.start]:02x}")
            data = data[error.start + 1 :]
    return f'"{"".join(parts)}"'


class Writer:
    """Texts one after the other; raises CostExceeded once they are too long together."""

    __slots__ = ("_length", "_parts")

    def __init__(self, length: list[int] | None = None) -> None:
        self._parts: list[str] = []
        self._length = [0] if length is None else length

    def nested(self) -> "Writer":
        """Return a writer whose texts count towards the same bound."""
        return Writer(self._length)

    def add(self, text: str) -> None:
        """Append a text."""
        self._parts.append(text)
        self._length[0] += len(text)
        check_text(self._length[0])

    def text(self) -> str:
        """Return all of it."""
        return "".join(self._parts)


def shown(value: Value) -> str:
    """Return a value as Go prints it in messages (%v); raises CostExceeded if that is too long."""
    writer = Writer()
    _show(writer, value)
    return writer.text()


def _show(writer: Writer, value: Value) -> None:
    match value:
        case list():
            writer.add("[")
            for index, each in enumerate(value):
                writer.add(", " if index else "")
                _show(writer, each)
            writer.add("]")
        case dict():
            writer.add("{")
            for index, (key, each) in enumerate(value.items()):
                writer.add(f"{', ' if index else ''}{_scalar(key)}: ")
                _show(writer, each)
            writer.add("}")
        case Optional(has_value=True):
            writer.add("optional(")
            _show(writer, value.value)
            writer.add(")")
        case _:
            writer.add(_scalar(value))


def _scalar(value: Value) -> str:
    match value:
        case None:
            return "0"
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return double_to_string(value)
        case str():
            return value
        case bytes():
            return f"[{' '.join(map(str, value))}]"
        case Timestamp():
            return format_timestamp(value)
        case Duration():
            return format_duration(value)
        case _:
            return _named(value)


def _named(value: Value) -> str:
    if isinstance(value, Optional):
        return "optional.none()"
    return value.name if isinstance(value, Type) else type_of(value).name
