"""Decodes YAML bodies as Go's YAML library does, within limits, and finds keys that stand twice in one mapping.

PyYAML's C parser makes the nodes; scalars are resolved here, because YAML 1.1 as PyYAML reads it has dates and
base-60 numbers that Kubernetes does not have. An alias is a copy, so that objects may be changed in place.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from kubelite.api.machinery.json_reading import DEPTH_LIMIT, DUPLICATES_LIMIT, Reading, unrecognized

ALIASED_NODES_LIMIT = 50_000  # made by following aliases

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    **{
        name: True
        for word in ("y", "yes", "true", "on")
        for name in (word, word.title(), word.upper())
    },
    **{
        name: False
        for word in ("n", "no", "false", "off")
        for name in (word, word.title(), word.upper())
    },
}
_INTEGER = re.compile(
    r"([-+]?)(?:(0x[0-9a-fA-F_]+)|(0b[01_]+)|0o?([0-7_]+)|([0-9][0-9_]*))"
).fullmatch
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?").fullmatch
_TEXT = "tag:yaml.org,2002:str"


class Unreadable(Exception):
    """The document cannot be turned into JSON."""


def read_yaml(body: bytes, *, kind: str = "", find_duplicates: bool = False) -> Reading:
    """Decode the first document of a body; `kind` is named in the error as what was expected.

    Takes 0.25 ms per KB: call it in a thread for large bodies.

    Raises:
        BadRequest: It is no YAML, nested too deep, or its aliases multiply too much.
    """
    try:
        reader = _Reader()
        value = reader.value(_first_document(body), 0)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise unrecognized(body, kind, f"yaml: {line}{error.problem}") from error
    except (yaml.YAMLError, Unreadable, UnicodeDecodeError) as error:
        raise unrecognized(body, kind, f"yaml: {error}") from error
    except RecursionError as error:
        raise unrecognized(body, kind, "yaml: exceeded max depth") from error
    return Reading(value, tuple(reader.duplicates) if find_duplicates else ())


def _first_document(body: bytes) -> yaml.Node | None:
    loader = yaml.CSafeLoader(body)
    try:
        # Reading every scalar as a text spares the resolver, whose rules are not wanted.
        loader.yaml_implicit_resolvers = {}
        return loader.get_node() if loader.check_node() else None
    finally:
        loader.dispose()


class _Reader:
    """Turns nodes into values, counting what aliases multiply."""

    def __init__(self) -> None:
        self.duplicates: list[str] = []
        self._seen: set[int] = set()
        self._open: set[int] = set()
        self._aliased = 0

    def value(self, node: yaml.Node | None, depth: int) -> Any:
        if node is None:
            return None
        if depth > DEPTH_LIMIT:
            raise Unreadable("exceeded max depth")
        self._count(node)
        if isinstance(node, yaml.ScalarNode):
            return scalar(node)
        self._open.add(id(node))
        made: Any
        if isinstance(node, yaml.SequenceNode):
            made = [self.value(item, depth + 1) for item in node.value]
        else:
            made = self._mapping(node, depth)
        self._open.discard(id(node))
        return made

    def _count(self, node: yaml.Node) -> None:
        if id(node) in self._open:
            raise Unreadable("anchor value contains itself")
        if id(node) in self._seen:
            self._aliased += 1
            if self._aliased > ALIASED_NODES_LIMIT:
                raise Unreadable("document contains excessive aliasing")
        self._seen.add(id(node))

    def _mapping(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, item in node.value:
            if key.value == "<<" and not key.style and isinstance(key, yaml.ScalarNode):
                self._merge(item, merged, depth)
                continue
            name = _key(key)
            if name in made and len(self.duplicates) < DUPLICATES_LIMIT:
                line = key.start_mark.line + 1
                self.duplicates.append(f'line {line}: key "{name}" already set in map')
            made[name] = self.value(item, depth + 1)
        return {**merged, **made} if merged else made

    def _merge(self, node: yaml.Node, merged: dict[str, Any], depth: int) -> None:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in reversed(sources):
            value = self.value(source, depth + 1)
            if not isinstance(value, dict):
                raise Unreadable("map merge requires map or sequence of maps as the value")
            merged.update(value)


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise Unreadable("invalid map key: it is no scalar")
    value = scalar(node)
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case _:
            return str(value)


def scalar(node: yaml.ScalarNode) -> Any:
    """Resolve a scalar: null, a boolean, a number or a text."""
    text: str = node.value
    if node.style:  # quoted, or a block
        return text
    # With no resolver every scalar is tagged a text; one that says so itself is longer in the document than its value.
    says_text = node.tag == _TEXT and node.end_mark.index - node.start_mark.index > len(text)
    return text if says_text else plain(text)


def plain(text: str) -> Any:
    """Resolve an unquoted scalar without a tag."""
    if text in _NULLS:
        return None
    if (boolean := _BOOLEANS.get(text)) is not None:
        return boolean
    if text[0] not in "-+.0123456789":
        return text
    if matched := _INTEGER(text):
        return _integer(text, matched)
    if _FLOAT(text):
        number = float(text)
        return text if math.isinf(number) else number
    return text


def _integer(text: str, matched: re.Match[str]) -> int | float | str:
    sign, hexadecimal, binary, octal, decimal = matched.groups()
    digits, base = next(
        (digits, base)
        for digits, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10))
        if digits is not None
    )
    try:
        number = int(digits.replace("_", ""), base)
    except ValueError:
        return text
    return -number if sign == "-" else number
