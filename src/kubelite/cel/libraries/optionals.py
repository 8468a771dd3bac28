"""Optional values of lists: first, last, unwrap; the rest of cel-go's optional library belongs to the language."""

from typing import Final

from kubelite.cel.declarations import Library
from kubelite.cel.libraries.declaring import function, member, plain
from kubelite.cel.libraries.go_text import shown
from kubelite.cel.types import list_of, optional_of, parameter
from kubelite.cel.values import NONE, EvaluationFailed, Optional, Value


def first(values: list[Value]) -> Optional:
    """Return the first element if there is one."""
    return Optional(values[0]) if values else NONE


def last(values: list[Value]) -> Optional:
    """Return the last element if there is one."""
    return Optional(values[-1]) if values else NONE


def unwrap(values: list[Value]) -> list[Value]:
    """Return the values of the optionals that have one."""
    found = []
    for value in values:
        if not isinstance(value, Optional):
            raise EvaluationFailed(f"value {shown(value)} is not optional")
        if value.has_value:
            found.append(value.value)
    return found


_VALUE = parameter("V")
_LIST = list_of(_VALUE)
_OPTIONAL = optional_of(_VALUE)
_OPTIONALS = list_of(_OPTIONAL)

LIBRARY: Final = Library(
    "cel.lib.optional.lists",
    functions=(
        function("first", member("list_first", (_LIST,), _OPTIONAL, first)),
        function("last", member("list_last", (_LIST,), _OPTIONAL, last)),
        function("optional.unwrap", plain("optional_unwrap", (_OPTIONALS,), _LIST, unwrap)),
        function("unwrapOpt", member("optional_unwrapOpt", (_OPTIONALS,), _LIST, unwrap)),
    ),
)
