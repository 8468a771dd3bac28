r"""kubectl's JSONPath, as far as printer columns and selectable fields use it.

Fields (``.a.b``, ``['a']``, ``.a\.b``), indexes and slices, wildcards, recursive descent and filters such as
``[?(@.type=="Ready")]``. A path compiles once to a function from an object to the values found.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgspec

from kubelite.limits import PATH_VALUES

JSONPath = Callable[[Any], list[Any]]
_Step = Callable[[Any], Iterator[Any]]

_LENGTH_LIMIT = 4096
_DESCENTS_LIMIT = 3  # recursive descents in one path: nested ones multiply the work
_NESTING_LIMIT = 8  # depth of filters within filters
_NAME = re.compile(r"(?:\\.|[^.\[\]\\\s])+")
_INDEX = re.compile(r"-?\d+", re.ASCII).fullmatch
_SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d*))?", re.ASCII).fullmatch
_SIGN = re.compile("==|!=|<=|>=|<|>|[=!]")


def compile_path(text: str, depth: int = 0) -> JSONPath:
    """Compile a path, with or without its braces; `depth` counts the enclosing filters.

    Raises:
        ValueError: The path is malformed or not supported, or exceeds a limit.
    """
    if len(text) > _LENGTH_LIMIT:
        raise ValueError("jsonpath is too long")
    if depth > _NESTING_LIMIT:
        raise ValueError("filters are nested too deep")
    bare = text.strip()
    if bare.startswith("{") and bare.endswith("}"):
        bare = bare[1:-1].strip()
    steps = tuple(_steps(bare.removeprefix("$").removeprefix("@"), depth))
    if steps.count(_descendants) > _DESCENTS_LIMIT:
        raise ValueError(f"at most {_DESCENTS_LIMIT} recursive descents are allowed")

    def find(value: Any) -> list[Any]:
        found, left = [value], PATH_VALUES.value
        for step in steps:
            children = (child for parent in found for child in step(parent))
            found = list(islice(children, left))
            left -= len(found)
            if left <= 0:
                PATH_VALUES.reached()
            if not found:
                break
        return found

    return find


def print_values(values: list[Any]) -> str:
    """Print values as kubectl does: texts bare, structures as JSON, several with a space between."""
    return " ".join(_printed(value) for value in values)


def _printed(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "<nil>" if value is None else msgspec.json.encode(value).decode()


def _steps(text: str, depth: int) -> Iterator[_Step]:
    position = 0
    while position < len(text):
        if text.startswith("..", position):
            yield _descendants
            position += 1
        if text[position] == "[":
            end = _closing(text, position)
            yield _bracket(text[position + 1 : end].strip(), depth)
            position = end + 1
            continue
        if text[position] == ".":
            position += 1
            if text[position : position + 1] in ("", "["):
                continue
        matched = _NAME.match(text, position)
        if matched is None:
            raise ValueError(f"unrecognized character in action: {text[position:]!r}")
        name = matched[0]
        yield _wildcard if name == "*" else _field(re.sub(r"\\(.)", r"\1", name))
        position = matched.end()


def _closing(text: str, start: int) -> int:
    """Return the position of the bracket that closes the one at `start`, skipping quotes and inner brackets."""
    depth, quote = 0, ""
    for position in range(start, len(text)):
        letter = text[position]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "[":
            depth += 1
        elif letter == "]":
            depth -= 1
            if not depth:
                return position
    raise ValueError("unterminated array")


def _bracket(inner: str, depth: int) -> _Step:
    if inner == "*":
        return _wildcard
    if len(inner) > 1 and inner[0] in "'\"" and inner[-1] == inner[0]:
        return _field(inner[1:-1])
    if _INDEX(inner):
        return _index(int(inner))
    if cut := _SLICE(inner):
        return _slice(*(int(bound) if bound else None for bound in cut.groups()))
    if condition := _condition(inner):
        return _filter(*condition, depth + 1)
    raise ValueError(f"invalid array index {inner}")


def _condition(inner: str) -> tuple[str, str, str] | None:
    """Split ``?(@.a == 1)`` into path, operator and value; the last two are "" in a test for presence."""
    body = inner[2:-1].strip()
    if not (inner.startswith("?(") and inner.endswith(")") and body.startswith("@")):
        return None
    sign = _SIGN.search(body)
    if sign is None:
        return body[1:].strip(), "", ""
    right = body[sign.end() :].strip()
    if sign[0] in ("=", "!") or not right:
        return None
    return body[1 : sign.start()].strip(), sign[0], right


def _field(name: str) -> _Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _index(number: int) -> _Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= number < len(value):
            yield value[number]

    return step


def _slice(start: int | None, stop: int | None, stride: int | None = None) -> _Step:
    if stride is not None and stride <= 0:
        raise ValueError("step must be > 0")

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[start:stop:stride]

    return step


def _wildcard(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _descendants(value: Any) -> Iterator[Any]:
    pending = deque([value])
    while pending:
        current = pending.popleft()
        yield current
        pending.extend(_wildcard(current))


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda left, right: bool(left == right),
    "!=": lambda left, right: bool(left != right),
    "<": lambda left, right: bool(left < right),
    "<=": lambda left, right: bool(left <= right),
    ">": lambda left, right: bool(left > right),
    ">=": lambda left, right: bool(left >= right),
}


def _literal(text: str) -> Any:
    if text[0] in "'\"" and text[-1] == text[0]:
        return text[1:-1]
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"unrecognized value in filter: {text}") from error


def _filter(left: str, sign: str, right: str, depth: int) -> _Step:
    find = compile_path(left, depth)
    wanted = compile_path(right[1:], depth) if right.startswith("@") else None
    literal = _literal(right) if right and wanted is None else None

    def holds(item: Any) -> bool:
        found = find(item)
        if not found or not sign:
            return bool(found)
        others = wanted(item) if wanted is not None else [literal]
        try:
            return bool(others) and _COMPARE[sign](found[0], others[0])
        except TypeError:
            return False

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from (item for item in value if holds(item))

    return step
