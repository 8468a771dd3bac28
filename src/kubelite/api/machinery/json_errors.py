"""What is wrong with text that is not JSON, in the words of Go's decoder, which clients show to their users."""

import json
import re

import msgspec

from kubelite.api.machinery.causes import quoted

_LITERALS = ("true", "false", "null")
_QUOTED = {"'": r"'\''", '"': "'\"'"}
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|([][{}])', re.DOTALL)
_PLACE = re.compile(r"\(byte (\d+)\)")
_END = "unexpected end of JSON input"
_VALUE = "looking for beginning of value"


def syntax_error(body: bytes) -> str:
    """Return the message about a body that cannot be decoded; read in C, so that a long body costs no more than JSON.

    The body is taken byte by byte, as Go does.
    """
    text = body.decode("latin-1")
    try:
        json.loads(text, parse_int=str, parse_float=str)  # digits are not converted
    except json.JSONDecodeError as error:
        return _worded(text, error)
    except RecursionError:
        return "exceeded max depth"
    return _unlike_python(text, body)


def _unlike_python(text: str, body: bytes) -> str:
    """Return the message about what Python takes for JSON and others do not, such as NaN."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if place := _PLACE.search(str(error)):
            return _invalid(text, int(place[1]), _VALUE)
        return str(error)
    return ""


def _worded(text: str, error: json.JSONDecodeError) -> str:
    at, problem = error.pos, error.msg
    if problem.startswith("Unterminated"):
        return _END
    if problem == "Expecting value":
        return _literal(text, at)
    if problem.startswith("Expecting property name"):
        return _invalid(text, at, "looking for beginning of object key string")
    if problem.startswith("Illegal trailing comma"):
        return _invalid(text, at + 1, "looking for beginning of object key string")
    if problem.startswith("Expecting ':'"):
        return _invalid(text, at, "after object key")
    if problem.startswith("Expecting ','"):
        inside = "object key:value pair" if _container(text, at) == "{" else "array element"
        return _invalid(text, at, f"after {inside}")
    if problem.startswith("Extra data"):
        return _invalid(text, at, "after top-level value")
    if problem.startswith(("Invalid \\u", "Invalid \\escape")):
        return _invalid(text, at + 1, "in string escape code")
    return _invalid(text, at, "in string literal")


def _literal(text: str, at: int) -> str:
    """Return the message about a place where a value should begin, or where a literal is misspelt."""
    for literal in _LITERALS:
        if text[at : at + 1] == literal[0]:
            same = next(
                (i for i, letter in enumerate(literal) if text[at + i : at + i + 1] != letter),
                len(literal),
            )
            return _invalid(
                text, at + same, f"in literal {literal} (expecting {_letter(literal[same])})"
            )
    if text[at : at + 1] == "-":
        return _invalid(text, at + 1, "in numeric literal")
    return _invalid(text, at, _VALUE)


def _invalid(text: str, at: int, context: str) -> str:
    return f"invalid character {_letter(text[at])} {context}" if at < len(text) else _END


def _letter(letter: str) -> str:
    if known := _QUOTED.get(letter):
        return known
    return f"'{quoted(letter)[1:-1]}'"


def _container(text: str, at: int) -> str:
    """Return the innermost open bracket before a place."""
    open_brackets: list[str] = []
    for match in _BRACKETS.finditer(text, 0, at):
        bracket = match[1]
        if bracket in ("[", "{"):
            open_brackets.append(bracket)
        elif bracket is not None and open_brackets:
            open_brackets.pop()
    return open_brackets[-1] if open_brackets else ""
