"""The types of CEL, as the checker infers them and as values carry them at run time.

A `Type` is immutable. Parameters (the element of a list, the key and value of a map, the value of an optional) matter
to the checker alone; at run time a value's type is known by its name.
"""

from enum import IntEnum
from typing import Final


class Kind(IntEnum):
    """The category of a type."""

    DYN = 1
    ANY = 2
    BOOL = 3
    BYTES = 4
    DOUBLE = 5
    DURATION = 6
    ERROR = 7
    INT = 8
    LIST = 9
    MAP = 10
    NULL = 11
    OPAQUE = 12  # an abstract type without fields
    STRING = 13
    STRUCT = 14  # an object type, whose fields the environment knows
    TIMESTAMP = 15
    TYPE = 16
    PARAMETER = 17  # a type parameter of a function's declaration
    UINT = 18


class Type:
    """A type: its kind, its name at run time, its parameters, and whether null is assignable to it as well.

    `is_generic` says whether there is a type parameter in it.
    """

    __slots__ = ("_text", "is_generic", "is_nullable", "kind", "name", "parameters")

    def __init__(
        self,
        kind: Kind,
        name: str,
        parameters: tuple["Type", ...] = (),
        *,
        is_nullable: bool = False,
    ) -> None:
        self.kind = kind
        self.name = name
        self.parameters = parameters
        self.is_nullable = is_nullable
        self.is_generic: bool = kind is Kind.PARAMETER or any(
            part.is_generic for part in parameters
        )
        self._text = ""

    def is_same(self, other: "Type") -> bool:
        """Return whether kind, name and parameters are the same."""
        if self is other:
            return True
        return (
            self.kind is other.kind
            and self.name == other.name
            and len(self.parameters) == len(other.parameters)
            and all(map(Type.is_same, self.parameters, other.parameters))
        )

    def accepts(self, other: "Type") -> bool:
        """Return whether a value of type `other` may stand where this type is declared; free of type parameters."""
        if self.is_nullable:
            return other.kind is Kind.NULL or (self.kind is other.kind and self.name == other.name)
        if self is other or self.kind in (Kind.DYN, Kind.ANY, Kind.PARAMETER):
            return True
        return (
            self.kind is other.kind
            and self.name == other.name
            and len(self.parameters) == len(other.parameters)
            and all(map(Type.accepts, self.parameters, other.parameters))
        )

    @property
    def declared_name(self) -> str:
        """Return the name without parameters; of a nullable type `wrapper(…)`."""
        return f"wrapper({self.name})" if self.is_nullable else self.name

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Type) and self.name == other.name
        )  # equality of CEL, by the name at run time

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        text = self._text
        if not text:
            text = self._text = _format(self)
        return text

    def __repr__(self) -> str:
        return f"Type({self})"


_NAMES = {
    Kind.ANY: "any",
    Kind.DURATION: "duration",
    Kind.ERROR: "!error!",
    Kind.NULL: "null",
    Kind.TIMESTAMP: "timestamp",
}


def _format(type_: Type) -> str:
    """Return the text of a type in messages of the checker."""
    if type_.kind in _NAMES:
        return _NAMES[type_.kind]
    if not type_.parameters:
        return type_.name if type_.kind is Kind.PARAMETER else type_.declared_name
    return f"{type_.name}({', '.join(map(str, type_.parameters))})"


ANY: Final = Type(Kind.ANY, "google.protobuf.Any")
BOOL: Final = Type(Kind.BOOL, "bool")
BYTES: Final = Type(Kind.BYTES, "bytes")
DOUBLE: Final = Type(Kind.DOUBLE, "double")
DURATION: Final = Type(Kind.DURATION, "google.protobuf.Duration")
DYN: Final = Type(Kind.DYN, "dyn")
ERROR: Final = Type(Kind.ERROR, "error")
INT: Final = Type(Kind.INT, "int")
NULL: Final = Type(Kind.NULL, "null_type")
STRING: Final = Type(Kind.STRING, "string")
TIMESTAMP: Final = Type(Kind.TIMESTAMP, "google.protobuf.Timestamp")
TYPE: Final = Type(Kind.TYPE, "type")
UINT: Final = Type(Kind.UINT, "uint")


def list_of(element: Type) -> Type:
    """Return the type of lists of `element`."""
    return Type(Kind.LIST, "list", (element,))


def map_of(key: Type, value: Type) -> Type:
    """Return the type of maps from `key` to `value`."""
    return Type(Kind.MAP, "map", (key, value))


def optional_of(value: Type) -> Type:
    """Return the type of optional values."""
    return Type(Kind.OPAQUE, "optional_type", (value,))


def opaque(name: str, *parameters: Type) -> Type:
    """Return an abstract type without fields."""
    return Type(Kind.OPAQUE, name, parameters)


def struct(name: str) -> Type:
    """Return an object type; an environment says which fields it has."""
    return Type(Kind.STRUCT, name)


def parameter(name: str) -> Type:
    """Return a type parameter of a function's declaration, as `A` in `list(A)`."""
    return Type(Kind.PARAMETER, name)


def type_of_type(named: Type) -> Type:
    """Return the type of a name that stands for the type `named`."""
    return Type(Kind.TYPE, "type", (named,))


def nullable(wrapped: Type) -> Type:
    """Return the type of values of a scalar type, or null."""
    return Type(wrapped.kind, wrapped.name, wrapped.parameters, is_nullable=True)


LIST: Final = list_of(DYN)
MAP: Final = map_of(DYN, DYN)
OPTIONAL: Final = optional_of(DYN)
