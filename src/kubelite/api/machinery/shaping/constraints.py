"""The constraints of a custom resource's schema, compiled to tables of checks that know no paths.

A table says for each class of JSON values what to do: accept, refuse, or call a check. Most fields need no call. A
table is compiled when the first object has its field. Whether an object is valid is all that these checks say;
`blame` walks an object that is not, and says where and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import local
from types import NoneType
from typing import Any, Final

from kubelite.api.machinery.shaping.compile_openapi import EMBEDDED, INT_OR_STRING, LIST_TYPE
from kubelite.api.machinery.shaping.embedded import MetadataRules, embedded_causes
from kubelite.api.machinery.shaping.enums import Enum
from kubelite.api.machinery.shaping.formats import format_check
from kubelite.api.machinery.shaping.node_types import format_of, mistyped, types_of
from kubelite.api.machinery.shaping.numeric import number_check
from kubelite.api.machinery.shaping.uniqueness import are_unique, keeps_list_type
from kubelite.limits import ALTERNATIVES
from kubelite.regexp.patterns import Pattern

JSON = dict[str, Any]
Check = Callable[[Any], bool]
Verdict = Check | bool  # True: any value of the class is valid; False: none
Table = Mapping[type, Verdict]


class TooManyAlternatives(Exception):
    """The object takes more work than one may: its values are checked against too many alternatives."""


class Work(local):
    """What the current validation of this thread may still do."""

    alternatives = 0

    def start(self) -> None:
        """Begin a validation."""
        self.alternatives = ALTERNATIVES.value

    def charge(self, alternatives: int) -> None:
        """Charge so many alternatives; raises TooManyAlternatives."""
        self.alternatives -= alternatives
        if self.alternatives < 0:
            ALTERNATIVES.reached()
            raise TooManyAlternatives


work: Final = Work()

_SAMPLES: Mapping[type, Any] = {str: "", bool: True, int: 0, float: 0.5, dict: {}, list: []}
_CLASSES = (str, bool, int, float, dict, list)
_STRUCTURE = {"items", "properties", "additionalProperties", LIST_TYPE, EMBEDDED}
_OF_TEXTS = {"format", "minLength", "maxLength", "pattern"}
_OF_NUMBERS = {"minimum", "maximum", "multipleOf"}
_OF_LISTS = {"minItems", "maxItems", "uniqueItems"}
_OF_OBJECTS = {"minProperties", "maxProperties", "required"}
_OF_ALL = {"nullable", "enum", "allOf", "anyOf", "oneOf", "not"}
_CHECKED_KEYS = frozenset().union(
    _STRUCTURE, _OF_TEXTS, _OF_NUMBERS, _OF_LISTS, _OF_OBJECTS, _OF_ALL
)
_FORMATTED = {("string",), (), ("integer", "string")}  # types whose texts are checked for a format


def satisfies(table: Table, value: Any) -> bool:
    """Return whether a value passes a table."""
    verdict = table[value.__class__]
    return verdict if verdict.__class__ is bool else verdict(value)  # type: ignore[operator] # a class says which


class Compiler:
    """Compiles nodes of one schema; what is compiled is kept by the tables alone."""

    __slots__ = ("_known", "_plain", "_rules")

    def __init__(self, rules: MetadataRules) -> None:
        self._rules = rules
        self._plain: dict[tuple[str, ...], Table] = {}  # of nodes that say nothing but their types
        self._known: dict[tuple[int, bool], Table] = {}  # by identity: the schema outlives this

    def table(self, node: JSON, *, structural: bool = True) -> Table:
        """Compile a node; `structural`: it is not part of an alternative, where list types mean nothing."""
        if _CHECKED_KEYS.isdisjoint(node):
            types = types_of(node)
            if (known := self._plain.get(types)) is None:
                known = self._plain[types] = self._compile(node, structural)
            return known
        key = id(node), structural
        if (known := self._known.get(key)) is None:
            known = self._known.setdefault(key, self._compile(node, structural))
        return known

    def _compile(self, node: JSON, structural: bool) -> Table:
        enum = Enum(node["enum"]) if node.get("enum") else None
        junctors = tuple(self._junctors(node))
        table: dict[type, Verdict] = {
            NoneType: enum is None and (not types_of(node) or node.get("nullable") is True)
        }
        for kind in _CLASSES:
            checks = list(self._checks(node, kind, structural))
            if enum is not None:
                checks.append(enum.__contains__)
            table[kind] = _all_of([*checks, *junctors])
        return table

    def _checks(self, node: JSON, kind: type, structural: bool) -> Iterable[Verdict]:
        yield _type_verdict(node, kind)
        if kind is str:
            yield from _text_checks(node)
        elif kind is int or kind is float:
            yield number_check(node, kind)
        elif kind is dict:
            yield self._object_check(node, structural)
            if structural and node.get(EMBEDDED) is True:
                yield self._is_embedded
        elif kind is list:
            yield from self._list_checks(node, structural)

    def _is_embedded(self, value: JSON) -> bool:
        return next(embedded_causes(value, "", self._rules), None) is None

    def _object_check(self, node: JSON, structural: bool) -> Verdict:
        tables = _Tables(self, node, structural=structural)
        required = tuple(node.get("required") or ())
        low, high = node.get("minProperties"), node.get("maxProperties")
        if not required and low is None and high is None and tables.is_empty:
            return True
        counted = low is not None or high is not None

        def check(value: JSON) -> bool:
            if counted and not _between(low, len(value), high):
                return False
            for name in required:
                if name not in value:
                    return False
            for name, item in value.items():
                verdict = tables[name][item.__class__]
                if verdict is True:
                    continue
                if verdict is False or not verdict(item):
                    return False
            return True

        return check

    def _list_checks(self, node: JSON, structural: bool) -> Iterable[Verdict]:
        low, high = node.get("minItems"), node.get("maxItems")
        if low is not None or high is not None:
            yield lambda value: _between(low, len(value), high)
        if node.get("uniqueItems") is True:
            yield are_unique
        if structural and node.get(LIST_TYPE) in {"set", "map"}:
            yield lambda value: keeps_list_type(node, value)
        items = node.get("items")
        if items is not None:
            yield self._items_check(items, structural)

    def _items_check(self, items: JSON, structural: bool) -> Check:
        table: Table | None = None

        def check(value: list[Any]) -> bool:
            nonlocal table
            if table is None:
                table = self.table(items, structural=structural)
            for item in value:
                verdict = table[item.__class__]
                if verdict is True:
                    continue
                if verdict is False or not verdict(item):
                    return False
            return True

        return check

    def _junctors(self, node: JSON) -> Iterable[Check]:
        for name, judge in (("anyOf", _any_of), ("oneOf", _one_of), ("allOf", _each_of)):
            if node.get(name) and not _says_types(node, name):
                tables = [self.table(each, structural=False) for each in node[name]]
                yield judge(tables)
        if node.get("not") is not None:
            yield _none_of([self.table(node["not"], structural=False)])


class _Tables(dict[str, Table]):
    """The tables of an object's fields by name, each compiled when it is first asked for."""

    __slots__ = ("_compiler", "_properties", "_rest", "_rest_table", "_structural", "is_empty")

    def __init__(self, compiler: Compiler, node: JSON, *, structural: bool) -> None:
        super().__init__()
        self._compiler = compiler
        self._structural = structural
        self._properties: JSON = node.get("properties") or {}
        self._rest = node.get("additionalProperties")
        self._rest_table = _FORBIDDEN if self._rest is False else _ANYTHING
        self.is_empty = not self._properties and self._rest in (None, True)

    def __missing__(self, name: str) -> Table:
        node = self._properties.get(name)
        if node is not None:
            return self.setdefault(name, self._compiler.table(node, structural=self._structural))
        if isinstance(self._rest, dict) and self._rest_table is _ANYTHING:
            self._rest_table = self._compiler.table(self._rest, structural=self._structural)
        return self._rest_table


_ANYTHING: Final[Table] = dict.fromkeys((*_CLASSES, NoneType), True)
_FORBIDDEN: Final[Table] = dict.fromkeys((*_CLASSES, NoneType), False)


def _between(low: int | None, count: int, high: int | None) -> bool:
    return (low is None or count >= low) and (high is None or count <= high)


def _type_verdict(node: JSON, kind: type) -> Verdict:
    types, format_ = types_of(node), format_of(node)
    if kind is float and "integer" in types and "number" not in types:
        return lambda value: mistyped(types, format_, value) is None
    return mistyped(types, format_, _SAMPLES[kind]) is None


def _says_types(node: JSON, name: str) -> bool:
    """Return whether alternatives only repeat that a value may be an integer or a string."""
    if name != "anyOf" or node.get(INT_OR_STRING) is not True:
        return False
    return bool(node[name] == [{"type": "integer"}, {"type": "string"}])


def _text_checks(node: JSON) -> Iterable[Check]:
    low, high = node.get("minLength"), node.get("maxLength")
    if high is not None:
        yield lambda value: len(value) <= high
    if low is not None:
        yield lambda value: len(value) >= low
    if node.get("pattern"):
        yield Pattern(node["pattern"]).matches
    if (format_ := format_of(node)) and types_of(node) in _FORMATTED:
        yield format_check(format_)


def _all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the conjunction of verdicts."""
    checks: list[Check] = []
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is not True:
            checks.append(verdict)
    if len(checks) < 2:
        return checks[0] if checks else True
    if len(checks) == 2:
        first, second = checks
        return lambda value: first(value) and second(value)
    every = tuple(checks)

    def check(value: Any) -> bool:
        for each in every:  # noqa: SIM110 - a generator costs more
            if not each(value):
                return False
        return True

    return check


def _any_of(tables: list[Table]) -> Check:
    def check(value: Any) -> bool:
        work.charge(len(tables))
        for table in tables:  # noqa: SIM110 - a generator costs more
            if satisfies(table, value):
                return True
        return False

    return check


def _one_of(tables: list[Table]) -> Check:
    def check(value: Any) -> bool:
        work.charge(len(tables))
        return sum(satisfies(table, value) for table in tables) == 1

    return check


def _each_of(tables: list[Table]) -> Check:
    def check(value: Any) -> bool:
        work.charge(len(tables))
        return all(satisfies(table, value) for table in tables)

    return check


def _none_of(tables: list[Table]) -> Check:
    def check(value: Any) -> bool:
        work.charge(len(tables))
        return not any(satisfies(table, value) for table in tables)

    return check
