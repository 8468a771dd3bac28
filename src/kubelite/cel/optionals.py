"""Optional values: how they are made, asked and unwrapped, and the macros on them."""

from typing import Final

from kubelite.cel import macros, operators
from kubelite.cel.arithmetic import no_overload
from kubelite.cel.declarations import Function, Library, Overload
from kubelite.cel.types import (
    BOOL,
    DYN,
    INT,
    OPTIONAL,
    STRING,
    Type,
    list_of,
    map_of,
    optional_of,
    parameter,
)
from kubelite.cel.values import (
    NONE,
    Duration,
    EvaluationFailed,
    OpaqueValue,
    Optional,
    Timestamp,
    Value,
)

_K: Final = parameter("K")
_V: Final = parameter("V")
_OPTIONAL: Final = optional_of(_V)
_LIST: Final = list_of(_V)
_MAP: Final = map_of(_K, _V)
_ZERO_YEAR: Final = -62135596800 * 1_000_000_000  # nanoseconds; the zero of Go's times


def _of_non_zero(value: Value) -> Optional:
    return NONE if _is_zero(value) else Optional(value)


def _is_zero(value: Value) -> bool:
    if isinstance(value, Timestamp):
        return value.nanoseconds == _ZERO_YEAR
    if isinstance(value, Duration):
        return value.nanoseconds == 0
    if isinstance(value, Optional):
        return not value.has_value
    if isinstance(value, OpaqueValue | Type):
        return False
    return not value


def _none() -> Optional:
    return NONE


def _value(optional: Optional) -> Value:
    if not optional.has_value:
        raise EvaluationFailed("optional.none() dereference")
    return optional.value


def _has_value(optional: Optional) -> bool:
    return optional.has_value


def _by_compiler(*_: Value) -> Value:
    raise no_overload()


def _member(name: str, id_: str, receiver: Type, result: Type, call: object) -> Function:
    assert callable(call)
    return Function(name, (Overload(id_, (receiver,), result, call, is_member=True),))


def _choice(name: str, id_: str, argument: Type, result: Type) -> Function:
    return Function(
        name, (Overload(id_, (_OPTIONAL, argument), result, _by_compiler, is_member=True),)
    )


LIBRARY: Final = Library(
    "optional",
    (
        Function("optional.of", (Overload("optional_of", (_V,), _OPTIONAL, Optional),)),
        Function(
            "optional.ofNonZeroValue",
            (Overload("optional_ofNonZeroValue", (_V,), _OPTIONAL, _of_non_zero),),
        ),
        Function("optional.none", (Overload("optional_none", (), _OPTIONAL, _none),)),
        _member("value", "optional_value", _OPTIONAL, _V, _value),
        _member("hasValue", "optional_hasValue", _OPTIONAL, BOOL, _has_value),
        _choice("or", "optional_or_optional", _OPTIONAL, _OPTIONAL),
        _choice("orValue", "optional_orValue_value", _V, _V),
        Function(
            operators.OPTIONAL_SELECT,
            (Overload("select_optional_field", (DYN, STRING), _OPTIONAL, _by_compiler),),
        ),
        Function(
            operators.OPTIONAL_INDEX,
            tuple(
                Overload(id_, (receiver, index), _OPTIONAL, _by_compiler)
                for id_, receiver, index in (
                    ("list_optindex_optional_int", _LIST, INT),
                    ("optional_list_optindex_optional_int", optional_of(_LIST), INT),
                    ("map_optindex_optional_value", _MAP, _K),
                    ("optional_map_optindex_optional_value", optional_of(_MAP), _K),
                )
            ),
        ),
        Function(
            operators.INDEX,
            (
                Overload(
                    "optional_list_index_int",
                    (optional_of(_LIST), INT),
                    _OPTIONAL,
                    _by_compiler,
                ),
                Overload(
                    "optional_map_index_value", (optional_of(_MAP), _K), _OPTIONAL, _by_compiler
                ),
            ),
        ),
    ),
    types=(OPTIONAL,),
    macros=macros.OPTIONAL,
)

TWO_VARIABLES: Final = Library(
    "comprehensions",
    (
        Function(
            operators.MAP_INSERT,
            (
                Overload("@mapInsert_map_key_value", (_MAP, _K, _V), _MAP, _by_compiler),
                Overload("@mapInsert_map_map", (_MAP, _MAP), _MAP, _by_compiler),
            ),
        ),
    ),
    macros=macros.TWO_VARIABLES,
)
