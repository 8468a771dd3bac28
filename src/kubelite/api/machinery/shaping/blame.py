"""The slow walk over a custom resource that breaks its schema: which values break what, in Kubernetes' words.

It follows kube-openapi's validation to the letter, since clients see its choices: of several alternatives that all
fail, the one is explained of which most checks passed, so checks are counted as there. When an object is replaced,
values that did not change are not blamed; the elements of a list of type map are compared by their keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kubelite.api.errors import Cause
from kubelite.api.machinery.causes import (
    Causes,
    TooManyCauses,
    cut,
    mistyped,
    required,
    shown,
    too_long,
    too_many,
    unchecked,
)
from kubelite.api.machinery.paths import FieldPath
from kubelite.api.machinery.shaping.compile_openapi import EMBEDDED, LIST_KEYS, LIST_TYPE
from kubelite.api.machinery.shaping.constraints import Compiler, satisfies, work
from kubelite.api.machinery.shaping.embedded import MetadataRules, embedded_causes
from kubelite.api.machinery.shaping.enums import Enum, supported
from kubelite.api.machinery.shaping.formats import format_check
from kubelite.api.machinery.shaping.node_types import format_of, types_of
from kubelite.api.machinery.shaping.node_types import mistyped as find_mistyped
from kubelite.api.machinery.shaping.numeric import go_number, number_findings
from kubelite.api.machinery.shaping.uniqueness import are_unique, identity, list_causes
from kubelite.limits import CAUSES
from kubelite.regexp.patterns import Pattern

JSON = dict[str, Any]
Path = FieldPath | None
NOWHERE = "<nil>"


class Former(NamedTuple):
    """What stood at the place of a value before, and the node of both."""

    value: Any
    node: JSON


class Found:
    """Causes, each once, and how many checks passed."""

    __slots__ = ("causes", "checks")

    def __init__(self) -> None:
        self.causes: dict[Cause, None] = {}
        self.checks = 0

    @property
    def is_full(self) -> bool:
        """Whether no answer has room for more."""
        return len(self.causes) > CAUSES.value

    def add(self, cause: Cause) -> None:
        """Add a cause; those that no answer has room for are dropped."""
        if not self.is_full:
            self.causes[cause] = None

    def merge(self, other: Found) -> None:
        """Add what another has found."""
        self.checks += other.checks
        for cause in other.causes:
            self.add(cause)


class Blame:
    """One walk over an object. Parts that `compiler`'s tables find valid are not visited."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._counting = False  # in an alternative, of which also the checks that pass count
        self._same: dict[
            tuple[int, int], bool
        ] = {}  # of values by identity: whether both are equal
        self._enums: dict[int, Enum] = {}  # by identity of the node, which outlives the walk

    def of(self, node: JSON, value: Any, path: Path, former: Former | None) -> Found:
        """Return what is wrong with a value; nothing if it is as before."""
        if former is None:
            return self._at(node, value, path, former)
        same = self.is_same(value, former.value, former.node)
        if same and not self._counting:
            return Found()
        found = self._at(node, value, path, former)
        if same:
            found.causes = {}
        return found

    def _is_valid(self, node: JSON, value: Any) -> bool:
        if self._counting:
            return False
        return satisfies(self._compiler.table(node, structural=False), value)

    def _at(self, node: JSON, value: Any, path: Path, former: Former | None) -> Found:
        found = Found()
        types, format_ = types_of(node), format_of(node)
        if value is None:
            self._null(found, node, types, path)
            return found
        kind = value.__class__
        if types or format_:
            self._type(found, types, format_, value, path)
        self._junctors(found, node, value, path, former)
        if kind is str:
            self._text(found, node, format_, value, path)
        elif kind is int or kind is float:
            self._number(found, node, value, path)
        elif kind is list:
            self._list(found, node, value, path, former)
        found.checks += 1
        self._enum(found, node, value, path)
        if kind is dict:
            self._object(found, node, value, path, former)
        found.checks += 1
        return found

    def _null(self, found: Found, node: JSON, types: tuple[str, ...], path: Path) -> None:
        if types and node.get("nullable") is not True:
            found.add(_mistyped(path, ",".join(types), "null"))
        else:
            found.checks += 1
        self._enum(found, node, None, path)

    def _type(
        self, found: Found, types: tuple[str, ...], format_: str, value: Any, path: Path
    ) -> None:
        found.checks += 1
        if (problem := find_mistyped(types, format_, value)) is not None:
            found.add(_mistyped(path, *problem))
        else:
            found.checks += 1

    def _enum(self, found: Found, node: JSON, value: Any, path: Path) -> None:
        values = node.get("enum")
        if not values:
            return
        enum = self._enums.get(id(values)) or self._enums.setdefault(id(values), Enum(values))
        if value not in enum:
            text = f"Unsupported value: {_shown(value)}: supported values: {supported(values)}"
            found.add(Cause(_place(path), "FieldValueNotSupported", text))

    def _text(self, found: Found, node: JSON, format_: str, value: str, path: Path) -> None:
        found.checks += 1
        low, high = node.get("minLength"), node.get("maxLength")
        if high is not None and len(value) > high:
            found.add(too_long(_place(path), high))
        elif low is not None and len(value) < low:
            found.add(_invalid(path, value, f"{{}} in body should be at least {low} chars long"))
        elif node.get("pattern") and not Pattern(node["pattern"]).matches(value):
            found.add(_invalid(path, value, f"{{}} in body should match '{node['pattern']}'"))
        if format_ and not (types_of(node) and set(types_of(node)) <= {"integer", "number"}):
            found.checks += 1
            if not format_check(format_)(value):
                found.add(_mistyped(path, format_, value))

    def _number(self, found: Found, node: JSON, value: float, path: Path) -> None:
        found.checks += 2
        for finding in number_findings(node, value):
            if finding.anonymous:
                found.add(_anonymous(finding.text.replace("{}", _place(path, ""))))
            else:
                found.add(_invalid(path, value, finding.text))

    def _list(
        self, found: Found, node: JSON, value: list[Any], path: Path, former: Former | None
    ) -> None:
        items = node.get("items")
        if items is not None:
            before = self._elements(former)
            for index, item in enumerate(value):
                if self._is_valid(items, item):
                    continue
                was = self._former_element(before, former, item)
                found.merge(self.of(items, item, FieldPath(path, index), was))
                if found.is_full and former is None:
                    return
        low, high = node.get("minItems"), node.get("maxItems")
        if low is not None and len(value) < low:
            found.add(_invalid(path, len(value), f"{{}} in body should have at least {low} items"))
        if high is not None and len(value) > high:
            found.add(too_many(_place(path), len(value), high))
        if node.get("uniqueItems") is True and not are_unique(value):
            found.add(_invalid(path, "", "{} in body shouldn't contain duplicates"))
        found.checks += 2

    def _object(
        self, found: Found, node: JSON, value: JSON, path: Path, former: Former | None
    ) -> None:
        found.checks += 1
        low, high = node.get("minProperties"), node.get("maxProperties")
        if low is not None and len(value) < low:
            text = f"{{}} in body should have at least {low} properties"
            found.add(_invalid(path, len(value), text))
        if high is not None and len(value) > high:
            found.add(too_many(_place(path), len(value), high))
        properties: JSON = node.get("properties") or {}
        rest = node.get("additionalProperties")
        for name, item in value.items():
            inner = properties.get(name)
            if inner is None:
                if rest is False:
                    text = f"{_place(path, '')}.{cut(name)} in body is a forbidden property"
                    found.add(Cause(_place(path), "FieldValueInvalid", _detailed(name, text)))
                if not isinstance(rest, dict):
                    continue
                inner = rest
            if self._is_valid(inner, item):
                continue
            was = None
            if path is not None or name not in ("apiVersion", "kind"):
                was = former_field(former, name)
            found.merge(self.of(inner, item, FieldPath(path, name), was))
            if found.is_full and former is None:
                return
        for name in node.get("required") or ():
            if name not in value:
                found.add(required(str(FieldPath(path, name))))

    def _junctors(
        self, found: Found, node: JSON, value: Any, path: Path, former: Former | None
    ) -> None:
        found.checks += 2
        place = _place(path, "")
        if choices := node.get("anyOf"):
            self._any_of(found, self._tried(choices, value, path, former), place)
        if choices := node.get("oneOf"):
            self._one_of(found, self._tried(choices, value, path, former), place)
        if choices := node.get("allOf"):
            failed = 0
            for tried in self._tried(choices, value, path, former):
                failed += bool(tried.causes)
                found.merge(tried)
            if failed:
                none = ". None validated" if failed == len(choices) else ""
                found.add(_anonymous(f'"{place}" must validate all the schemas (allOf){none}'))
        if node.get("not") is not None:
            (tried,) = self._tried([node["not"]], value, path, former)
            if not tried.causes:
                found.add(_anonymous(f'"{place}" must not validate the schema (not)'))

    def _tried(
        self, choices: Sequence[JSON], value: Any, path: Path, former: Former | None
    ) -> Iterator[Found]:
        for choice in choices:
            work.charge(1)
            outer, self._counting = self._counting, True
            try:
                tried = self._at(choice, value, path, former)
            finally:
                self._counting = outer
            yield tried

    def _any_of(self, found: Found, results: Iterator[Found], place: str) -> None:
        best: Found | None = None
        for tried in results:
            if not tried.causes:
                found.merge(tried)
                return
            if best is None or tried.checks > best.checks:
                best = tried
        found.add(_anonymous(f'"{place}" must validate at least one schema (anyOf)'))
        if best is not None:
            found.merge(best)

    def _one_of(self, found: Found, results: Iterator[Found], place: str) -> None:
        best: Found | None = None
        valid: list[Found] = []
        for tried in results:
            if not tried.causes:
                valid.append(tried)
                best = None
            elif not valid and (best is None or tried.checks > best.checks):
                best = tried
        if len(valid) == 1:
            found.merge(valid[0])
            return
        number = f"Found {len(valid)} valid alternatives" if valid else "Found none valid"
        text = f'"{place}" must validate one and only one schema (oneOf). {number}'
        found.add(_anonymous(text))
        if best is not None:
            found.merge(best)

    def _elements(self, former: Former | None) -> dict[Any, Any] | None:
        """Return the former elements of a list of type map by their keys; None if it is no such list."""
        if former is None or former.node.get(LIST_TYPE) != "map":
            return None
        if not isinstance(former.value, list):
            return None
        return {element_key(former.node, item): item for item in former.value}

    def _former_element(
        self, before: dict[Any, Any] | None, former: Former | None, item: Any
    ) -> Former | None:
        if before is None or former is None or former.node.get("items") is None:
            return None
        was = before.get(element_key(former.node, item))
        return None if was is None else Former(was, former.node["items"])

    def is_same(self, value: Any, old: Any, node: JSON) -> bool:
        """Return whether a value is as before; what has no schema is not compared, as in Kubernetes."""
        key = id(value), id(old)
        known = self._same.get(key)
        if known is None:
            known = self._same[key] = self._compare(value, old, node)
        return known

    def _compare(self, value: Any, old: Any, node: JSON) -> bool:
        if value.__class__ is not old.__class__:
            return False
        if value.__class__ is dict:
            former = Former(old, node)
            return len(value) == len(old) and all(
                (was := former_field(former, name)) is not None
                and self.is_same(item, was.value, was.node)
                for name, item in value.items()
            )
        if value.__class__ is not list:
            return bool(value == old)
        if node.get(LIST_TYPE) != "map":
            return bool(identity(value) == identity(old))
        former = Former(old, node)
        before = self._elements(former)
        return len(value) == len(old) and all(
            (was := self._former_element(before, former, item)) is not None
            and self.is_same(item, was.value, was.node)
            for item in value
        )


def element_key(node: JSON, item: Any) -> Any:
    """Return what tells an element of a list of type map from the others."""
    names = node.get(LIST_KEYS) or ()
    return tuple(identity(item.get(name)) for name in names) if isinstance(item, dict) else None


def former_field(former: Former | None, name: str) -> Former | None:
    """Return what stood at a field before; None if there was no such field, or if it has no schema."""
    if former is None or not isinstance(former.value, dict) or name not in former.value:
        return None
    node = (former.node.get("properties") or {}).get(name)
    if node is None:
        node = former.node.get("additionalProperties")
    return Former(former.value[name], node) if isinstance(node, dict) else None


def _place(path: Path, root: str = NOWHERE) -> str:
    return root if path is None else str(path)


def _shown(value: Any) -> str:
    return go_number(value) if value.__class__ is float else shown(value)


def _detailed(value: Any, detail: str) -> str:
    return f"Invalid value: {_shown(value)}: {detail}"


def _invalid(path: Path, value: Any, detail: str) -> Cause:
    text = detail.replace("{}", _place(path, ""), 1)
    return Cause(_place(path), "FieldValueInvalid", _detailed(value, text))


def _anonymous(text: str) -> Cause:
    """Return a cause that names no field, as Kubernetes has them for alternatives."""
    return Cause(NOWHERE, "FieldValueInvalid", f'Invalid value: "": {text}')


def _mistyped(path: Path, wanted: str, found: str) -> Cause:
    detail = f"{_place(path, '')} in body must be of type {wanted}: {shown(found)}"
    return mistyped(_place(path), found, detail)


def structural_causes(
    node: JSON, value: Any, path: Path, rules: MetadataRules | None
) -> Iterator[Cause]:
    """Yield the causes of embedded resources, or without `rules` those of lists of type set and map."""
    if value.__class__ is list:
        if rules is None:
            yield from list_causes(node, value, _place(path, ""))
        items = node.get("items")
        if items is not None:
            for index, item in enumerate(value):
                if item.__class__ is dict or item.__class__ is list:
                    yield from structural_causes(items, item, FieldPath(path, index), rules)
        return
    if rules is not None and path is not None and node.get(EMBEDDED) is True:
        yield from embedded_causes(value, str(path), rules)
    properties: JSON = node.get("properties") or {}
    rest = node.get("additionalProperties")
    for name, item in value.items():
        inner = properties.get(name)
        is_key = inner is None
        inner = rest if is_key and isinstance(rest, dict) else inner
        if inner is not None and (item.__class__ is dict or item.__class__ is list):
            at = FieldPath(path, name, bracketed=is_key)
            yield from structural_causes(inner, item, at, rules)


def causes_of(
    openapi: JSON,
    item: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    rules: MetadataRules,
    compiler: Compiler,
) -> list[Cause]:
    """Return why an object does not satisfy its schema, as many causes as one response takes."""
    former = None if old is None else Former(old, openapi)
    try:
        causes = Causes(Blame(compiler).of(openapi, item, None, former).causes)
        causes += structural_causes(openapi, item, None, rules)
        was_broken = old is not None and any(structural_causes(openapi, old, None, None))
        if not was_broken:
            causes += structural_causes(openapi, item, None, None)
    except TooManyCauses as error:
        return [*error.found, unchecked()]
    return list(causes)


def status_causes_of(
    openapi: JSON, item: Mapping[str, Any], old: Mapping[str, Any], compiler: Compiler
) -> list[Cause]:
    """Return why the status of an object does not satisfy its schema; in the messages, paths begin at the status."""
    node = (openapi.get("properties") or {}).get("status")
    try:
        causes = Causes()
        if node is not None and "status" in item:
            former = Former(old["status"], node) if "status" in old else None
            causes += map(_of_status, Blame(compiler).of(node, item["status"], None, former).causes)
        if not any(structural_causes(openapi, old, None, None)):
            causes += structural_causes(openapi, item, None, None)
    except TooManyCauses as error:
        return [*error.found, unchecked()]
    return list(causes)


def _of_status(cause: Cause) -> Cause:
    path = "status" if cause.path == NOWHERE else f"status.{cause.path}"
    return Cause(path, cause.reason, cause.message)
