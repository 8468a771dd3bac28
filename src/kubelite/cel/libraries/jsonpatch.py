"""JSON patches: objects of type JSONPatch, and jsonpatch.escapeKey for their paths."""

from typing import ClassVar, Final

from kubelite.cel.declarations import Field, Library, StructType
from kubelite.cel.libraries import costs
from kubelite.cel.libraries.declaring import function, plain
from kubelite.cel.types import DYN, STRING, Type, struct
from kubelite.cel.values import OpaqueValue, Value, equal

JSON_PATCH_TYPE: Final = struct("JSONPatch")
_TEXTS: Final = ("op", "path", "from")


class JSONPatch(OpaqueValue):
    """One operation of a patch: the fields that were written out, op, path, from and value among them."""

    __slots__ = ("fields",)
    cel_type: ClassVar[Type] = JSON_PATCH_TYPE

    def __init__(self, fields: dict[str, Value]) -> None:
        self.fields = fields

    def get(self, name: str) -> Value:
        """Return a field; texts that were not written out are empty, the value is null."""
        return self.fields.get(name, "" if name in _TEXTS else None)

    def has(self, name: str) -> bool:
        """Return whether a field is set: a text to something, the value to anything."""
        return bool(self.get(name)) if name in _TEXTS else name in self.fields

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JSONPatch) or self.has("value") is not other.has("value"):
            return False
        return all(self.get(name) == other.get(name) for name in _TEXTS) and equal(
            self.get("value"), other.get("value")
        )

    def __hash__(self) -> int:
        return hash(tuple(map(self.get, _TEXTS)))


STRUCT_TYPE: Final = StructType(
    {name: Field(STRING) for name in _TEXTS} | {"value": Field(DYN)}, make=JSONPatch
)


def escape_key(key: str) -> str:
    """Return a key as it stands in a path of a patch."""
    return key.replace("~", "~0").replace("/", "~1")


LIBRARY: Final = Library(
    "kubernetes.jsonpatch",
    functions=(
        function(
            "jsonpatch.escapeKey",
            plain(
                "string_jsonpatch_escapeKey_string",
                (STRING,),
                STRING,
                escape_key,
                costs.by_size(keeps_size=True),
            ),
        ),
    ),
)
