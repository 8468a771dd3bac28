"""The base of every API type, and the notes its fields carry.

An API type is a frozen msgspec Struct whose fields are spelt as on the wire. What a type annotation cannot
say (required, default, merge key, list type, enum) rides in ``Annotated[...]`` as a `Note`;
`kubelite.api.machinery.schema` compiles a type with its notes into the `Schema` tree that everything else reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Optional,
    TypeVar,
    dataclass_transform,
)

import msgspec
from msgspec import Struct, StructMeta
from msgspec.structs import force_setattr


class GroupVersionKind(NamedTuple):
    """What names a type on the wire."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """The `apiVersion` field: ``v1`` or ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version


class Note(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Facts of one field beyond its type; several notes on a field are merged."""

    required: bool = False  # the field must be present on a write
    default: Any = msgspec.UNSET  # filled in when absent; a callable makes a fresh value each time
    merge_key: str = ""  # strategic merge patch: elements with an equal key are merged
    retain_keys: bool = False  # strategic merge patch: keys not named by the patch are dropped
    patch_replaces: bool = False  # strategic merge patch: the object is taken as a whole
    list_type: str = ""  # atomic, set or map
    list_keys: tuple[str, ...] = ()  # what identifies an element of a list of type map
    map_type: str = ""  # atomic or granular
    enum: tuple[str, ...] = ()
    format: str = ""  # int32, int64, double, byte, date-time, int-or-string, quantity
    union: str = ""  # discriminator, where the fields of the type exclude each other
    embedded: bool = False  # any complete API object
    preserve: bool = False  # unknown fields are kept
    always: bool = False  # on the wire even when empty (an object that may not be absent always is)
    omit_empty: bool = False  # required, and yet not on the wire when empty
    null: Literal["", "absent", "empty"] = ""  # a list that is null on the wire when it is that


REQUIRED = Note(required=True)
ATOMIC = Note(list_type="atomic")
ATOMIC_MAP = Note(map_type="atomic")
GRANULAR = Note(map_type="granular")
SET = Note(list_type="set")
ALWAYS = Note(always=True)
OMIT_EMPTY = Note(omit_empty=True)


def default(value: Callable[[], Any] | str | int | bool | None) -> Note:
    """Note the value an absent field gets."""
    return Note(default=value)


def merge_by(key: str, *, retain_keys: bool = False) -> Note:
    """Note a list whose elements strategic merge patch matches by `key`; an empty key merges scalars."""
    return Note(merge_key=key or "-", retain_keys=retain_keys)


def list_map(*keys: str) -> Note:
    """Note a list whose elements server-side apply identifies by `keys`."""
    return Note(list_type="map", list_keys=keys)


def enum(*values: str) -> Note:
    """Note the values a string may have."""
    return Note(enum=values)


_NULL_LISTS = ("NilList[", "AbsentList[")


def _may_be_null(annotation: Any) -> bool:
    """Return whether an annotation, mostly still a text, is of a list that may be null."""
    if isinstance(annotation, str):
        return any(alias in annotation for alias in _NULL_LISTS)
    notes = getattr(annotation, "__metadata__", ())
    return any(isinstance(note, Note) and bool(note.null) for note in notes)


def _null_to_empty(fields: tuple[str, ...]) -> Callable[[Model], None]:
    """Return what msgspec runs after decoding, so that readers see an empty list where the wire has null."""

    def fill(self: Model) -> None:
        for field in fields:
            if getattr(self, field) is None:
                force_setattr(self, field, [])

    return fill


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class ModelMeta(StructMeta):
    """Makes every API type frozen and keyword-only, and omits defaults when encoding."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> ModelMeta:
        """Create the type; msgspec inherits none of these options by itself."""
        if nils := tuple(
            field
            for field, annotation in namespace.get("__annotations__", {}).items()
            if _may_be_null(annotation)
        ):
            namespace["__post_init__"] = _null_to_empty(nils)
        return super().__new__(
            mcls, name, bases, namespace, kw_only=True, frozen=True, omit_defaults=True, gc=False
        )


class Model(Struct, metaclass=ModelMeta):
    """Base of every API type; compared by value, never changed in place."""

    map_type: ClassVar[str] = ""  # atomic: server-side apply takes the object as a whole


class Kind(Model):
    """Base of every type that is an object of its own on the wire.

    Encoding omits `apiVersion` and `kind` like any default; `to_wire` puts them in front.
    """

    gvk: ClassVar[GroupVersionKind]

    apiVersion: str = ""
    kind: str = ""


Int32 = Annotated[int, Note(format="int32")]
Int64 = Annotated[int, Note(format="int64")]
Double = Annotated[float, Note(format="double")]
Base64 = Annotated[str, Note(format="byte")]
Time = Annotated[str, Note(format="date-time")]  # RFC 3339, seconds, Z
MicroTime = Annotated[str, Note(format="date-time-micro")]  # RFC 3339, six decimals, Z
Quantity = Annotated[str, Note(format="quantity")]
IntOrString = Annotated[int | str, Note(format="int-or-string")]
if TYPE_CHECKING:
    NilList = list
    AbsentList = list
else:
    _Item = TypeVar("_Item")
    # A list without omitempty in Go. Protobuf, in which it is stored, does not tell an empty list from none: both are
    # null. Of the kinds stored as JSON only an absent list is.
    NilList = Annotated[Optional[list[_Item]], Note(always=True, null="empty")]  # noqa: UP045 -- generic
    AbsentList = Annotated[Optional[list[_Item]], Note(always=True, null="absent")]  # noqa: UP045 -- generic
RawExtension = Annotated[dict[str, Any], Note(preserve=True)]


def to_wire(value: Model) -> dict[str, Any]:
    """Turn a typed object into the dict that is its JSON; a `Kind` gets `apiVersion` and `kind` in front."""
    fields: dict[str, Any] = msgspec.to_builtins(value)
    if not isinstance(value, Kind):
        return fields
    fields.pop("apiVersion", None)
    fields.pop("kind", None)
    return {"apiVersion": value.gvk.api_version, "kind": value.gvk.kind, **fields}
