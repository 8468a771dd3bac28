"""The clauses of format strings (``%s``, ``%.2f``), which are read when an expression is checked and when it runs."""

from typing import NamedTuple

VERBS = frozenset("sdfebxXo")


class FormatFailed(Exception):
    """The format string or an argument is wrong; the message is cel-go's."""


class Clause(NamedTuple):
    """What stands for one argument; `end` is where the text after it begins."""

    verb: str
    precision: int | None
    end: int


def read_clause(text: str, start: int) -> Clause:
    """Read the clause whose ``%`` is at `start`; raises FormatFailed."""
    at, precision = start + 1, None
    if text[at] == ".":
        end = at + 1
        while end < len(text) and text[end] in "0123456789":
            end += 1
        if end == len(text):
            raise _unreadable(
                "error while parsing precision: could not find end of precision specifier"
            )
        precision, at = _precision(text[at + 1 : end]), end
    verb = text[at]
    if verb not in VERBS:
        # Go looks at the first byte of the character.
        shown = chr(verb.encode(errors="replace")[0])
        raise _unreadable(f'unrecognized formatting clause "{shown}"')
    return Clause(verb, precision, at + 1)


def _precision(digits: str) -> int:
    problem = ""
    if not digits:
        problem = "invalid syntax"
    elif len(digits.lstrip("0")) > 19 or int(digits.lstrip("0") or "0") >= 1 << 63:
        problem = "value out of range"
    if problem:
        reason = f'strconv.Atoi: parsing "{digits}": {problem}'
        raise _unreadable(
            f"error while parsing precision: error while converting precision to integer: {reason}"
        )
    return int(digits.lstrip("0") or "0")


def _unreadable(reason: str) -> FormatFailed:
    return FormatFailed(f"could not parse formatting clause: {reason}")


_WRONG_TYPE = {
    "s": "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, "
    "and timestamps",
    "d": "decimal clause can only be used on integers",
    "f": "fixed-point clause can only be used on doubles",
    "e": "scientific clause can only be used on doubles",
    "b": "only integers and bools can be formatted as binary",
    "x": "only integers, byte buffers, and strings can be formatted as hex",
    "o": "octal clause can only be used on integers",
}


def wrong_type(verb: str, type_name: str) -> FormatFailed:
    """Return the failure that a value of a type cannot be formatted so."""
    return FormatFailed(
        f"error during formatting: {_WRONG_TYPE[verb.lower()]}, was given {type_name}"
    )
