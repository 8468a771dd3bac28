"""What expressions know of a schema: types, fields, and how large and how many values can be.

Parts of a schema without a type are not declared, nor what would hold them. Sizes are those of Kubernetes 1.36, since
the estimates of costs stand on them: without a limit of its own, a value is as large as a request may be.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import is_not
from typing import Any, Final

from kubelite.api.machinery.expressions.escaping import RESERVED, escape
from kubelite.api.machinery.expressions.scalars import (
    read_bytes,
    read_date,
    read_datetime,
    read_double,
    read_duration,
    read_integer,
)
from kubelite.api.machinery.shaping.compile_openapi import LIST_KEYS, LIST_TYPE
from kubelite.cel import types
from kubelite.cel.declarations import Field, Range, StructType
from kubelite.cel.types import Type
from kubelite.cel.values import EvaluationFailed, MapList, SetList

JSON = dict[str, Any]
Read = Callable[[Any], Any]

REQUEST_BYTES: Final = 3 * 1024 * 1024
EMBEDDED: Final = "x-kubernetes-embedded-resource"
_UNSIZED: Final = 0  # what Kubernetes takes for the size of what has none
_BYTES_A_CHARACTER: Final = 4
_TEXT: Final[JSON] = {"type": "string"}
_METADATA: Final[JSON] = {
    "type": "object",
    "properties": {"name": _TEXT, "generateName": _TEXT},
}
_NO_MORE_THAN: Final = {"duration": 32, "date": 12, "date-time": 32}
_FORMATS: Final[dict[str, tuple[Type, int, Read]]] = {  # type, least bytes, conversion
    "byte": (types.BYTES, 2, read_bytes),
    "duration": (types.DURATION, 3, read_duration),
    "date": (types.TIMESTAMP, 12, read_date),
    "date-time": (types.TIMESTAMP, 21, read_datetime),
}


class Declared:
    """A part of a schema. `fields` are by their names in expressions, each with its name in JSON.

    `read` converts a scalar when an expression reads it. What a list or map holds is converted by `prepare`, once for
    each object: reading an element must not cost a pass over all of them. None: there is nothing to convert.
    `keys` are those of a list of type map, none of a list of type set; None: the list is neither.
    """

    __slots__ = (
        "_nullable",
        "_preparations",
        "element",
        "fields",
        "keys",
        "max_elements",
        "min_bytes",
        "read",
        "type",
    )

    def __init__(
        self,
        type_: Type,
        min_bytes: int,
        max_elements: int = _UNSIZED,
        *,
        element: "Declared | None" = None,
        fields: Mapping[str, "tuple[str, Declared]"] | None = None,
        read: Read | None = None,
        keys: Sequence[str] | None = None,
        nullable: Iterable[str] = (),
    ) -> None:
        """Declare a part; `nullable` are fields that may be null, which is to expressions as if they were absent."""
        self.type = type_  # of an object, a list or a map only the kind counts
        self.min_bytes = min_bytes
        self.max_elements = max_elements
        self.element = element
        self.fields = fields
        self.read = read
        self.keys = keys
        self._nullable = tuple(nullable)
        self._preparations: dict[bool, Read | None] = {}

    @property
    def prepare(self) -> Read | None:
        """Return what prepares a value for expressions that neither compare nor join lists."""
        return self.preparation(compares=False)

    @property
    def prepare_lists(self) -> Read | None:
        """Return what prepares a value for those that do: it also marks the lists that are sets and maps."""
        return self.preparation(compares=True)

    def preparation(self, *, compares: bool) -> Read | None:
        """Return what prepares a value for expressions, which compare lists or do not; None: nothing is to be done."""
        if compares not in self._preparations:
            made = _preparation(self, compares=compares)
            if self._nullable:
                made = _without_nulls(self._nullable, made)
            self._preparations[compares] = made
        return self._preparations[compares]

    def named(self, name: str) -> Type:
        """Return the type, whose parts are named after `name`."""
        if self.fields is not None:
            return types.struct(name)
        if self.element is None:
            return self.type
        if self.type is types.LIST:
            return types.list_of(self.element.named(f"{name}.@idx"))
        return types.map_of(types.STRING, self.element.named(f"{name}.@elem"))

    @property
    def cardinality(self) -> int:
        """Return how often such a value can stand in one request."""
        return REQUEST_BYTES // (self.min_bytes + 1)


class Declarations:
    """Declares the parts of one schema, each once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool], Declared | None] = {}

    def of(self, node: JSON, *, is_resource: bool) -> Declared | None:
        """Return what a part declares; None if expressions cannot see it. The schema must not change meanwhile."""
        key = id(node), is_resource
        if key not in self._known:
            self._known[key] = self._declare(node, is_resource=is_resource)
        return self._known[key]

    def inner(self, node: JSON) -> Declared | None:
        """Return what a part below another one declares."""
        return self.of(node, is_resource=bool(node.get(EMBEDDED)))

    def _declare(self, node: JSON, *, is_resource: bool) -> Declared | None:
        if node.get("x-kubernetes-int-or-string"):
            return Declared(types.DYN, 1, _text_length(node))
        match node.get("type"):
            case "array":
                return self._list(node)
            case "object":
                return self._object(node, is_resource=is_resource)
            case "string":
                return _string(node)
            case "boolean":
                return Declared(types.BOOL, 4)
            case "number":
                return Declared(types.DOUBLE, 1, read=read_double)
            case "integer":
                return Declared(types.INT, 1, read=read_integer)
            case _:
                return None

    def _list(self, node: JSON) -> Declared | None:
        items = node.get("items")
        element = self.inner(items) if isinstance(items, dict) else None
        if element is None:
            return None
        limit = node.get("maxItems")
        most = (
            (REQUEST_BYTES - 2) // (element.min_bytes + 1) if limit is None else max(int(limit), 0)
        )
        return Declared(types.LIST, 2, most, element=element, keys=_keys(node))

    def _object(self, node: JSON, *, is_resource: bool) -> Declared | None:
        properties = node.get("properties") or {}
        if is_resource:
            properties = with_type_and_metadata(properties)
        rest = node.get("additionalProperties")
        if isinstance(rest, dict):
            element = self.inner(rest)
            if element is None:
                return None
            limit = node.get("maxProperties")
            most = (
                (REQUEST_BYTES - 2) // (element.min_bytes + 6)
                if limit is None
                else max(int(limit), 0)
            )
            return Declared(types.MAP, 2, most, element=element)
        return self._fields(properties, set(node.get("required") or ()))

    def _fields(self, properties: JSON, required: set[str]) -> Declared:
        fields: dict[str, tuple[str, Declared]] = {}
        least = 2
        for name, inner in properties.items():
            declared = self.inner(inner)
            if declared is None:
                continue
            if (escaped := escape(name)) is not None:
                fields[escaped] = name, declared
            if name in RESERVED:
                fields.setdefault(name, (name, declared))  # which expressions may name since 1.33
            if name in required and inner.get("default") is None:
                least += len(name.encode()) + declared.min_bytes + 4
        nullable = [name for name, inner in properties.items() if inner.get("nullable")]
        return Declared(types.MAP, least, fields=fields, nullable=nullable)


def _keys(node: JSON) -> Sequence[str] | None:
    match node.get(LIST_TYPE):
        case "map":
            return tuple(node.get(LIST_KEYS) or ())
        case "set":
            return ()
        case _:
            return None


def with_type_and_metadata(properties: JSON) -> JSON:
    """Return the properties of a resource with those that it always has: type and names."""
    metadata = properties.get("metadata") or {}
    inner = metadata.get("properties") or {}
    kinds = [
        *(properties.get(name, {}).get("type") for name in ("kind", "apiVersion")),
        *(inner.get(name, {}).get("type") for name in ("name", "generateName")),
    ]
    if metadata.get("type") == "object" and kinds == ["string"] * 4:
        return properties
    return {**properties, "kind": _TEXT, "apiVersion": _TEXT, "metadata": _METADATA}


def _string(node: JSON) -> Declared:
    format_, limit = node.get("format", ""), node.get("maxLength")
    if format_ not in _FORMATS:
        return Declared(types.STRING, 2, _text_length(node))
    type_, least, read = _FORMATS[format_]
    most = _NO_MORE_THAN.get(format_, REQUEST_BYTES - 2)
    if format_ == "byte" and limit is not None:
        most = max(int(limit), 0)
    return Declared(type_, least, most, read=read)


def _text_length(node: JSON) -> int:
    limit = node.get("maxLength")
    if limit is not None:
        return max(int(limit), 0) * _BYTES_A_CHARACTER
    if node.get("enum") and not node.get("x-kubernetes-int-or-string"):
        return max(
            (len(each.encode()) for each in node["enum"] if isinstance(each, str)), default=0
        )
    return REQUEST_BYTES - 2


def _preparation(declared: Declared, *, compares: bool) -> Read | None:
    """Return what copies a value with all conversions that are due within its lists and maps."""
    element = declared.element
    if element is None:
        parts = {
            key: made
            for key, inner in (declared.fields or {}).values()
            if (made := inner.preparation(compares=compares))
        }
        return _some(parts) if parts else None
    convert = element.read or element.preparation(compares=compares)
    made = None
    if convert is not None and convert is not read_integer:
        made = _each(_leniently(convert), is_map=declared.type is types.MAP)
    return made if declared.keys is None or not compares else _marked(declared.keys, made)


def _marked(keys: Sequence[str], prepare: Read | None) -> Read:
    """Return what marks a list as one of type map with these keys, or without any as one of type set."""

    def converted(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        if prepare is not None:
            value = prepare(value)
        return MapList(value, keys) if keys else SetList(value)

    return converted


def _leniently(convert: Read) -> Read:
    """Return a conversion that leaves what it does not understand, so that the rule which needs it fails."""

    def converted(value: Any) -> Any:
        try:
            return convert(value)
        except EvaluationFailed:
            return value

    return converted


def _each(convert: Read, *, is_map: bool) -> Read:
    def converted(value: Any) -> Any:
        if is_map and isinstance(value, dict):
            changed = {name: convert(each) for name, each in value.items()}
            return changed if any(changed[name] is not value[name] for name in value) else value
        if not isinstance(value, list):
            return value
        items = [convert(each) for each in value]
        return items if any(map(is_not, items, value)) else value

    return converted


def _without_nulls(names: Sequence[str], prepare: Read | None) -> Read:
    def converted(value: Any) -> Any:
        if prepare is not None:
            value = prepare(value)
        if not isinstance(value, dict) or all(value.get(name, "") is not None for name in names):
            return value
        return {name: each for name, each in value.items() if each is not None or name not in names}

    return converted


def _some(parts: Mapping[str, Read]) -> Read:
    def converted(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        changed = {
            name: after
            for name, part in parts.items()
            if name in value and (after := part(value[name])) is not value[name]
        }
        return {**value, **changed} if changed else value

    return converted


_NO_FIELD: Final[tuple[str, Declared | None]] = ("", None)


class Structs(Mapping[str, StructType]):
    """The object types below a part, named by the path to it; each is made when an expression first needs it."""

    def __init__(self, root: Declared, name: str) -> None:
        self._root = root
        self._name = name
        self._made: dict[str, StructType] = {}

    def __getitem__(self, name: str) -> StructType:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    def _make(self, name: str) -> StructType:
        declared: Declared | None = self._root
        if name != self._name and not name.startswith(f"{self._name}."):
            raise KeyError(name)
        for step in name[len(self._name) + 1 :].split(".") if name != self._name else ():
            if declared is None:
                raise KeyError(name)
            fields = declared.fields or {}
            declared = declared.element if step[0] == "@" else fields.get(step, _NO_FIELD)[1]
        if declared is None or declared.fields is None:
            raise KeyError(name)
        return StructType(
            {
                each: Field(inner.named(f"{name}.{each}"), "" if key == each else key, inner.read)
                for each, (key, inner) in declared.fields.items()
            }
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


_ANY_TEXT: Final = Declared(types.STRING, 2)


def sizes_in(root: Declared) -> Callable[[tuple[str, ...], Type], Range | None]:
    """Return the estimator of the sizes that paths from a variable of this declaration lead to."""

    def size(path: tuple[str, ...], _: Type) -> Range | None:
        if not path:
            return None
        declared: Declared | None = root
        for step in path[1:]:
            if declared is None:
                return None
            if step in ("@items", "@values"):
                declared = declared.element
            elif step == "@keys":
                declared = _ANY_TEXT if declared.type is types.MAP and declared.element else None
            else:
                declared = (declared.fields or {}).get(step, ("", None))[1]
        return None if declared is None else Range(0, declared.max_elements)

    return size
