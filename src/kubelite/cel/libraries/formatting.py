"""``format``: values in a text, as cel-go 0.26 and its strings library of version 2 write them.

What is written is counted as it grows, since values may contain each other many times over.
"""

from collections.abc import Callable
from typing import Final

from kubelite.cel.conversions import double_to_string
from kubelite.cel.libraries import numbers
from kubelite.cel.libraries.format_clauses import Clause, FormatFailed, read_clause, wrong_type
from kubelite.cel.libraries.go_text import Writer, quote
from kubelite.cel.times import format_duration, format_timestamp
from kubelite.cel.types import Type
from kubelite.cel.values import Duration, EvaluationFailed, Timestamp, UInt, Value, type_of

_DEFAULT_PRECISION: Final = 6
_SPECIAL_DOUBLES: Final = {
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}


def format_text(text: str, arguments: list[Value]) -> str:
    """Return a format string with its clauses replaced by the arguments; raises EvaluationFailed."""
    writer = Writer()
    at = index = 0
    try:
        while (percent := text.find("%", at)) >= 0:
            writer.add(text[at:percent])
            if text.startswith("%%", percent):
                writer.add("%")
                at = percent + 2
                continue
            if index >= len(arguments):
                raise FormatFailed(f"index {index} out of range")
            if percent + 1 == len(text):
                raise FormatFailed("unexpected end of string")
            clause = read_clause(text, percent)
            _WRITERS[clause.verb](writer, clause, arguments[index])
            index += 1
            at = clause.end
    except FormatFailed as failure:
        raise EvaluationFailed(str(failure)) from failure
    writer.add(text[at:])
    return writer.text()


def _failed(reason: str) -> FormatFailed:
    return FormatFailed(f"error during formatting: {reason}")


def _write_string(writer: Writer, clause: Clause, value: Value) -> None:
    if isinstance(value, list | dict):
        _write_member(writer, value)
        return
    text = _plain(value)
    if text is None:
        raise wrong_type(clause.verb, type_of(value).name)
    writer.add(text)


def _plain(value: Value) -> str | None:
    """Return a value as CEL converts it to a string; None if it cannot."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return double_to_string(value)
        case str():
            return value
        case bytes():
            return _text_of(value)
        case Timestamp():
            return format_timestamp(value)
        case Duration():
            return format_duration(value)
        case Type():
            return value.name
        case _:
            return None


def _text_of(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        reason = '"invalid UTF-8 in bytes, cannot convert to string"'
        raise _failed(f"could not convert argument {reason} to string") from error


def _write_member(writer: Writer, value: Value) -> None:
    """Write a list or map, or a value inside one, where texts are quoted and doubles have six places."""
    if isinstance(value, list):
        writer.add("[")
        for index, each in enumerate(value):
            writer.add(", " if index else "")
            _write_member(writer, each)
        writer.add("]")
    elif isinstance(value, dict):
        entries = []
        for key, each in value.items():
            entry = writer.nested()
            _write_member(entry, each)
            entries.append((_key(key), entry.text()))
        entries.sort(key=lambda pair: pair[0])
        writer.add("{")
        writer.add(", ".join(f"{key}:{text}" for key, text in entries))
        writer.add("}")
    else:
        writer.add(_quoted(value))


def _key(key: Value) -> str:
    if type(key) not in (str, bool, int, UInt):
        raise _failed(f"no formatting function for map key of type {type_of(key).name}")
    return _quoted(key)


def _quoted(value: Value) -> str:
    match value:
        case str():
            return quote(value)
        case bytes():
            return f"b{quote(_text_of(value))}"
        case float():
            special = double_to_string(value)
            return f'"{special}"' if special in ("NaN", "+Inf", "-Inf") else f"{value:.6f}"
        case Timestamp():
            return f'timestamp("{format_timestamp(value)}")'
        case Duration():
            return f'duration("{format_duration(value)}")'
        case _:
            text = _plain(value)
            if text is None:
                raise _failed(f"no formatting function for {type_of(value).name}")
            return text


def _write_decimal(writer: Writer, clause: Clause, value: Value) -> None:
    writer.add(str(int(_integer(clause, value))))


def _integer(clause: Clause, value: Value) -> int:
    if type(value) not in (int, UInt):
        raise wrong_type(clause.verb, type_of(value).name)
    return int(value)


def _write_binary(writer: Writer, clause: Clause, value: Value) -> None:
    number = int(value) if type(value) is bool else _integer(clause, value)
    writer.add(f"{number:b}")


def _write_octal(writer: Writer, clause: Clause, value: Value) -> None:
    writer.add(f"{_integer(clause, value):o}")


def _write_hex(writer: Writer, clause: Clause, value: Value) -> None:
    match value:
        case str():
            text = value.encode(errors="replace").hex()
        case bytes():
            text = value.hex()
        case _:
            text = f"{_integer(clause, value):x}"
    writer.add(text.upper() if clause.verb == "X" else text)


def _number(clause: Clause, value: Value) -> float:
    if type(value) is float:
        return value
    if type(value) is str and value in _SPECIAL_DOUBLES:
        return _SPECIAL_DOUBLES[value]
    raise wrong_type(clause.verb, type_of(value).name)


def _write_fixed(writer: Writer, clause: Clause, value: Value) -> None:
    places = _DEFAULT_PRECISION if clause.precision is None else clause.precision
    writer.add(numbers.fixed(_number(clause, value), places))


def _write_scientific(writer: Writer, clause: Clause, value: Value) -> None:
    width = _DEFAULT_PRECISION if clause.precision is None else clause.precision
    writer.add(numbers.scientific(_number(clause, value), width))


_WRITERS: Final[dict[str, Callable[[Writer, Clause, Value], None]]] = {
    "s": _write_string,
    "d": _write_decimal,
    "f": _write_fixed,
    "e": _write_scientific,
    "b": _write_binary,
    "x": _write_hex,
    "X": _write_hex,
    "o": _write_octal,
}
