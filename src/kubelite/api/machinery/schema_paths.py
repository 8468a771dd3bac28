"""Resolves a path such as `.spec.color` or `.spec['my-field']` in the schema of a custom resource.

Source: the field paths of apiextensions-apiserver's CEL rules and selectable fields. A name goes to the property of
that name, or to the schema of additionalProperties where a schema has no properties. Items of lists are not reached.
"""

import re
from collections.abc import Iterator

from kubelite.api.machinery.schema_walk import JSON

_UNKNOWN = "does not refer to a valid field"
_ENDED = "unexpected end of JSON path"
# A quoted text goes to the first quote that no backslash precedes; without one the rest of the path is one sign.
_SIGN = re.compile(r"'(?:[^']|(?<=\\)')*(?<!\\)'|'.*|[.\[\]]|[^.\[\]]+", re.DOTALL)
_ESCAPES = re.compile(r"\\(.)")
_ESCAPED = dict(zip("abfnrtv'\\", "\a\b\f\n\r\t\v'\\", strict=True))


class InvalidPath(ValueError):
    """A path is malformed or leads nowhere; the text is Kubernetes'."""


def resolve_path(
    path: str, schema: JSON, *, brackets: bool = True
) -> tuple[tuple[tuple[str, bool], ...], JSON | None]:
    """Return the steps of a path, each a name and whether it is a property, and the schema it leads to.

    The schema is None below `additionalProperties: true`. Raises InvalidPath.
    """
    steps: list[tuple[str, bool]] = []
    reached: JSON | None = schema
    signs = iter(_SIGN.findall(path))
    for sign in signs:
        if sign == "[":
            if not brackets:
                raise InvalidPath("array notation is not allowed")
            name = _quoted(signs)
        elif sign == ".":
            name = _next(signs)
        else:
            raise InvalidPath(f"expected [ or . but got: {sign}")
        reached, is_property = _step(reached, name)
        steps.append((name, is_property))
        if sign == "[" and (end := _next(signs)) != "]":
            raise InvalidPath(f"expected ] but got {end}")
    return tuple(steps), reached


def _next(signs: Iterator[str]) -> str:
    sign = next(signs, None)
    if sign is None:
        raise InvalidPath(_ENDED)
    return sign


def _quoted(signs: Iterator[str]) -> str:
    sign = _next(signs)
    if len(sign) < 2 or sign[0] != "'" or sign[-1] != "'":
        raise InvalidPath(f"expected single quoted string but got {sign}")
    return _ESCAPES.sub(_unescaped, sign[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    letter = match[1]
    if letter not in _ESCAPED:
        raise InvalidPath(f"invalid string literal: invalid escape char {match[0]}")
    return _ESCAPED[letter]


def _step(schema: JSON | None, name: str) -> tuple[JSON | None, bool]:
    if schema is None:
        raise InvalidPath(_UNKNOWN)
    if properties := schema.get("properties"):
        if name not in properties:
            raise InvalidPath(_UNKNOWN)
        return properties[name], True
    additional = schema.get("additionalProperties")
    if additional is None:
        raise InvalidPath(_UNKNOWN)
    return (additional if isinstance(additional, dict) else None), False
