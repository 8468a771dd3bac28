"""Functions on texts: cel-go's extension library of strings, version 2.

All positions count characters. Each function is linear in its arguments and result.
"""

import math
from collections.abc import Sequence
from typing import Final

from kubelite.cel.declarations import (
    COST_MAX,
    STRING_TRAVERSAL,
    Argument,
    CallEstimate,
    Function,
    Library,
    Range,
    traversal_cost,
)
from kubelite.cel.libraries import costs
from kubelite.cel.libraries.bounds import check_text
from kubelite.cel.libraries.declaring import Costing, function, member, plain
from kubelite.cel.libraries.format_check import validate_format
from kubelite.cel.libraries.formatting import format_text
from kubelite.cel.libraries.go_text import shown
from kubelite.cel.types import DYN, INT, STRING, list_of
from kubelite.cel.values import EvaluationFailed, Value, size_of

# Go's white space, without the information separators that Python counts as such.
_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_QUOTED = str.maketrans(
    {
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
        "\\": "\\\\",
        '"': '\\"',
    }
)
_SHORT_SEARCH = 1 << 16  # steps up to which the simple search from the end is fast enough


def _out_of_range(index: int) -> EvaluationFailed:
    return EvaluationFailed(f"index out of range: {index}")


def char_at(text: str, index: int) -> str:
    """Return the character at an index; "" at the end."""
    if not 0 <= index <= len(text):
        raise _out_of_range(index)
    return text[index : index + 1]


def index_of(text: str, part: str, offset: int = 0) -> int:
    """Return where `part` begins first at or after `offset`; -1 if nowhere."""
    if not part:
        return offset
    if offset < 0:
        raise _out_of_range(offset)
    return -1 if offset >= len(text) else text.find(part, offset)


def last_index_of(text: str, part: str) -> int:
    """Return where `part` begins last; -1 if nowhere."""
    if not part:
        return len(text)
    return last_index_of_before(text, part, len(text) - 1) if text else -1


def last_index_of_before(text: str, part: str, offset: int) -> int:
    """Return where `part` begins last at or before `offset`; -1 if nowhere."""
    if not part:
        return offset
    if offset < 0:
        raise _out_of_range(offset)
    if offset >= len(text) or len(part) > len(text):
        return -1
    end = min(offset + len(part), len(text))
    if end * len(part) <= _SHORT_SEARCH:
        return text.rfind(part, 0, end)
    # Python searches from the end in time that is the product of both lengths, but forward in linear time.
    found = text[:end][::-1].find(part[::-1])
    return -1 if found < 0 else end - found - len(part)


def lower_ascii(text: str) -> str:
    """Return a text with the letters of ASCII in lower case."""
    return (
        text.lower()
        if text.isascii()
        else text.encode(errors="surrogatepass").lower().decode(errors="surrogatepass")
    )


def upper_ascii(text: str) -> str:
    """Return a text with the letters of ASCII in upper case."""
    return (
        text.upper()
        if text.isascii()
        else text.encode(errors="surrogatepass").upper().decode(errors="surrogatepass")
    )


def replace(text: str, old: str, new: str, count: int = -1) -> str:
    """Return a text with the first `count` occurrences of `old` replaced, all if it is negative."""
    if len(new) > len(old):
        times = text.count(old)
        if count >= 0:
            times = min(times, count)
        check_text(len(text) + times * (len(new) - len(old)))
    return text.replace(old, new, count)


def split(text: str, separator: str, count: int = -1) -> list[str]:
    """Return the parts of a text, at most `count`; the last part has the rest. Between characters without separator."""
    if count == 0:
        return []
    if not separator:
        if count < 0 or count >= len(text):
            return list(text)
        return [*text[: count - 1], text[count - 1 :]]
    return text.split(separator, count - 1 if count > 0 else -1)


def substring(text: str, start: int) -> str:
    """Return a text from a position on."""
    if not 0 <= start <= len(text):
        raise _out_of_range(start)
    return text[start:]


def substring_range(text: str, start: int, end: int) -> str:
    """Return a text between two positions."""
    if start > end:
        raise EvaluationFailed(f"invalid substring range. start: {start}, end: {end}")
    for index in (start, end):
        if not 0 <= index <= len(text):
            raise _out_of_range(index)
    return text[start:end]


def trim(text: str) -> str:
    """Return a text without white space at both ends."""
    return text.strip(_SPACE)


def quote(text: str) -> str:
    """Return a text in double quotes with CEL's escapes."""
    return f'"{text.translate(_QUOTED)}"'


def join(parts: list[Value], separator: str = "") -> str:
    """Return texts one after the other; raises EvaluationFailed if one is none."""
    length = 0
    for part in parts:
        if type(part) is not str:
            raise EvaluationFailed(f"join: invalid input: {shown(part)}")
        length += len(part)
    check_text(length + max(len(parts) - 1, 0) * len(separator))
    return separator.join(parts)


def _estimate_replace(arguments: Sequence[Argument]) -> CallEstimate:
    text, old, new = (argument.size for argument in arguments[:3])
    size = Range(
        _least_replaced(text.min, old.max, new.min), _most_replaced(text.max, old.min, new.max)
    )
    return CallEstimate(text.scaled(2 * STRING_TRAVERSAL), size)


def _most_replaced(text: int, old: int, new: int) -> int:
    """Return the greatest length after the shortest part was replaced by the longest, as often as possible."""
    if old == 0:
        times, kept = min(text + 1, COST_MAX), text
    elif new <= old:
        times, kept = 0, text
    else:
        times, kept = _rounded_up(text, old), 0
    return min(times * new + kept, COST_MAX)


def _least_replaced(text: int, old: int, new: int) -> int:
    if old == 0:
        times, kept = min(text + 1, COST_MAX), text
    elif old <= new:
        times, kept = 0, text
    else:
        times, kept = _rounded_up(text, old), 0
    return min(times * new + kept, COST_MAX)


def _rounded_up(text: int, old: int) -> int:
    return min(math.ceil(float(text) / float(old)), COST_MAX)


def _cost_replace(arguments: Sequence[Value], result: Value) -> int:
    return costs.with_growth(costs.cost_of_copy(arguments, result), result)


def _estimate_split(arguments: Sequence[Argument]) -> CallEstimate:
    text = arguments[0].size
    most = text.max
    if len(arguments) > 2 and type(arguments[2].literal) is int:
        most = costs.wrapped(arguments[2].literal)
    return CallEstimate(text.scaled(2 * STRING_TRAVERSAL), Range(0, most))


def _estimate_join(arguments: Sequence[Argument]) -> CallEstimate:
    parts, element = arguments[0].size, arguments[0].element
    size = Range(0, 0) if element is None else parts * element.size
    if len(arguments) > 1:
        size += arguments[1].size * Range(max(parts.min - 1, 0), max(parts.max - 1, 0))
    return CallEstimate(size.scaled(STRING_TRAVERSAL), size)


def _cost_join(_arguments: Sequence[Value], result: Value) -> int:
    return math.ceil(size_of(result) * 2 * STRING_TRAVERSAL)


def _estimate_quote(arguments: Sequence[Argument]) -> CallEstimate:
    size = arguments[0].size
    quoted = Range(costs.wrapped(size.min + 2), costs.wrapped(size.max * 2 + 2))
    return CallEstimate(size.scaled(STRING_TRAVERSAL), quoted)


def _cost_format(arguments: Sequence[Value], result: Value) -> int:
    return costs.with_growth(traversal_cost(size_of(arguments[0])), result)


_TEXTS = list_of(STRING)
_KEEPING = costs.by_size(keeps_size=True)
_REPLACING = Costing(_estimate_replace, _cost_replace)
_SPLITTING = Costing(_estimate_split, costs.cost_of_copy)
_JOINING = Costing(_estimate_join, _cost_join)
_QUOTING = Costing(_estimate_quote, costs.by_size().actual, is_by_id=True)
_FORMATTING = Costing(costs.by_size().estimate, _cost_format, is_by_id=True)

LIBRARY: Final = Library(
    "cel.lib.ext.strings",
    functions=(
        function("charAt", member("string_char_at_int", (STRING, INT), STRING, char_at)),
        function(
            "indexOf",
            member("string_index_of_string", (STRING, STRING), INT, index_of, costs.TRAVERSAL),
            member(
                "string_index_of_string_int", (STRING, STRING, INT), INT, index_of, costs.TRAVERSAL
            ),
        ),
        function(
            "lastIndexOf",
            member(
                "string_last_index_of_string",
                (STRING, STRING),
                INT,
                last_index_of,
                costs.TRAVERSAL,
            ),
            member(
                "string_last_index_of_string_int",
                (STRING, STRING, INT),
                INT,
                last_index_of_before,
                costs.TRAVERSAL,
            ),
        ),
        function(
            "lowerAscii", member("string_lower_ascii", (STRING,), STRING, lower_ascii, _KEEPING)
        ),
        function(
            "upperAscii", member("string_upper_ascii", (STRING,), STRING, upper_ascii, _KEEPING)
        ),
        function(
            "replace",
            member(
                "string_replace_string_string",
                (STRING, STRING, STRING),
                STRING,
                replace,
                _REPLACING,
            ),
            member(
                "string_replace_string_string_int",
                (STRING, STRING, STRING, INT),
                STRING,
                replace,
                _REPLACING,
            ),
        ),
        function(
            "split",
            member("string_split_string", (STRING, STRING), _TEXTS, split, _SPLITTING),
            member("string_split_string_int", (STRING, STRING, INT), _TEXTS, split, _SPLITTING),
        ),
        function(
            "substring",
            member("string_substring_int", (STRING, INT), STRING, substring, _KEEPING),
            member(
                "string_substring_int_int", (STRING, INT, INT), STRING, substring_range, _KEEPING
            ),
        ),
        function("trim", member("string_trim", (STRING,), STRING, trim, _KEEPING)),
        Function(
            "format",
            (member("string_format", (STRING, list_of(DYN)), STRING, format_text, _FORMATTING),),
            validate=validate_format,
            allows_mixed_literals=True,
        ),
        function("strings.quote", plain("strings_quote", (STRING,), STRING, quote, _QUOTING)),
        function(
            "join",
            member("list_join", (_TEXTS,), STRING, join, _JOINING),
            member("list_join_string", (_TEXTS, STRING), STRING, join, _JOINING),
        ),
    ),
)
