"""The types that a mutation's expression writes out: Object, Object.spec and so on, and JSONPatch.

A type is named by the path from the object's root. Its fields may have any name and any value, since one policy may be
about many kinds, so a name that does not fit its place is found only when the expression is evaluated.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from kubelite.api.machinery.admission_expressions import Compiled, Composition, compiled
from kubelite.cel.declarations import Field, StructType
from kubelite.cel.environment import Environment
from kubelite.cel.kubernetes import MUTATIONS
from kubelite.cel.libraries.jsonpatch import JSON_PATCH_TYPE, STRUCT_TYPE, JSONPatch
from kubelite.cel.types import DYN, Type, list_of, struct
from kubelite.cel.values import EvaluationFailed, OpaqueValue, Value, equal
from kubelite.limits import CAUSES

ROOT: Final = "Object"
OBJECT: Final = struct(ROOT)  # what an apply configuration is
JSON_PATCHES: Final = list_of(JSON_PATCH_TYPE)  # what a JSON patch is
JSON_PATCH: Final = "JSONPatch"
RESULTS: Final = {"ApplyConfiguration": OBJECT, JSON_PATCH: JSON_PATCHES}  # by the type of patch
_ANYTHING: Final = Field(DYN)
_NOTHING: Final = Field(
    struct("")
)  # of a field that JSONPatch lacks: Kubernetes' checker shows no type


class ObjectValue(dict[str, Value], OpaqueValue):
    """An object that an expression wrote out, with its type's name; equal to those of the same type alone."""

    __slots__ = ("type_name",)

    def __init__(self, type_name: str, fields: Mapping[str, Value]) -> None:
        super().__init__(fields)
        self.type_name = type_name

    @property
    def cel_type(self) -> Type:  # type: ignore[override]  # each object has the type of its place
        """Return the type."""
        return struct(self.type_name)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ObjectValue)
            and self.type_name == other.type_name
            and len(self) == len(other)
            and all(name in other and equal(value, other[name]) for name, value in self.items())
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]  # a dict, which is no key of another


class _AnyFields(Mapping[str, Field]):
    """Fields of every name."""

    def __getitem__(self, name: str) -> Field:
        return _ANYTHING

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _PatchFields(dict[str, Field]):
    """Those of a JSONPatch; all others have a type that no value has."""

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - there is always a field
        """Return a field."""
        return super().get(name, _NOTHING)


def _make_patch(fields: dict[str, Value]) -> JSONPatch:
    for name in fields:
        if name not in STRUCT_TYPE.fields:
            raise EvaluationFailed(f"unexpected JSONPatchType field: {name}")
    return JSONPatch(fields)


_JSON_PATCH: Final = StructType(_PatchFields(STRUCT_TYPE.fields), make=_make_patch)


class PatchTypes(Mapping[str, StructType]):
    """The types of an environment, JSONPatch, and every name that begins with Object."""

    def __init__(self, others: Mapping[str, StructType]) -> None:
        self._named = {**others, JSON_PATCH_TYPE.name: _JSON_PATCH}

    def __getitem__(self, name: str) -> StructType:
        if name in self._named:
            return self._named[name]
        if _is_object(name):
            return _object_type(name)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._named or _is_object(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)


def _is_object(name: str) -> bool:
    return name == ROOT or name.startswith(f"{ROOT}.")


def _object_type(name: str) -> StructType:
    return StructType(_AnyFields(), make=lambda fields: ObjectValue(name, fields))


def mutation_environment(composition: Composition) -> Environment:
    """Return the environment of a policy's mutations, which alone can write out objects and patches."""
    others = composition.surroundings()
    return Environment(
        MUTATIONS,
        variables=others.variables,
        structs=PatchTypes(others.structs),
        sizes=others.sizes,
    )


def compiled_mutation(surroundings: Environment, patch_type: str, text: str) -> Compiled:
    """Compile the expression of a mutation, which must result in what its type of patch wants."""
    return compiled(surroundings, text, (RESULTS[patch_type],))


def find_misnamed(value: Any) -> list[str]:
    """Return the objects in an object whose types are not named after their places, at most `limits.CAUSES`.

    An object under the field ``spec`` of an ``Object`` must be an ``Object.spec``. Maps and lists between have no name.
    The value must be known to be small: expressions share the parts of values, so they may be larger than they look.
    """
    if not isinstance(value, ObjectValue):
        return []
    return list(islice(_misnamed(value, value.type_name), CAUSES.value))


def _misnamed(value: Value, place: str) -> Iterator[str]:
    if isinstance(value, ObjectValue):
        if value.type_name != place:
            yield (
                f'unexpected type name "{value.type_name}", expected "{place}", '
                "which matches field name path from root Object type"
            )
        for name, child in value.items():
            yield from _misnamed(child, f"{place}.{name}")
    elif isinstance(value, dict):
        for child in value.values():
            yield from _misnamed(child, place)
    elif isinstance(value, list):
        for child in value:
            yield from _misnamed(child, place)
