"""The functions and operators of the CEL specification, with the identifiers and costs of cel-go."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from kubelite.cel import arithmetic, conversions, operators, types
from kubelite.cel.arithmetic import no_overload
from kubelite.cel.declarations import (
    ONE,
    REGEX_LENGTH,
    STRING_TRAVERSAL,
    UNKNOWN,
    Argument,
    CallEstimate,
    Function,
    Library,
    Overload,
    Range,
)
from kubelite.cel.times import NANOSECONDS, Moment, moment, seconds_of
from kubelite.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
    parameter,
    type_of_type,
)
from kubelite.cel.validation import validate_pattern, validate_time
from kubelite.cel.values import (
    Duration,
    EvaluationFailed,
    Timestamp,
    Value,
    equal,
    size_of,
    type_of,
)
from kubelite.regexp.patterns import compiled

_A: Final = parameter("A")
_B: Final = parameter("B")
_LIST: Final = list_of(_A)
_MAP: Final = map_of(_A, _B)
_SIZED: Final = frozenset({str, bytes, list, dict})


def _known(argument: Argument) -> Range:
    return argument.known_size or UNKNOWN


# comparisons and logic


def _not_applicable(*_: Value) -> Value:
    """Stand in for operators that the compiler makes itself."""
    raise no_overload()


def is_in(value: Value, container: Value) -> bool:
    """Return whether a list holds a value or a map a key."""
    if type(container) is dict or isinstance(container, dict):
        return has_key(container, value)
    if isinstance(container, list):
        return any(equal(value, element) for element in container)
    raise no_overload()


def has_key(entries: dict[Value, Value], key: Value) -> bool:
    """Return whether a map has a key; numbers match across their types, bools only bools."""
    try:
        if key not in entries:
            return False
    except TypeError:  # lists and maps are keys of no usual map
        return False
    if type(key) is str:
        return True
    return key not in (0, 1) or any(
        (type(entry) is bool) is (type(key) is bool) for entry in entries if entry == key
    )


def _not_strictly_false(value: Value) -> bool:
    return value is not False


# sizes and costs


def size(value: Value) -> int:
    """Return the number of characters, bytes, elements or entries."""
    if type(value) in _SIZED or isinstance(value, list | dict):
        return len(value)
    if type(value) in (Timestamp, Duration):
        raise no_overload()
    raise EvaluationFailed("no such overload: size")


def _estimate_in(arguments: Sequence[Argument]) -> CallEstimate:
    return CallEstimate(_known(arguments[1]).scaled(1))


def _estimate_affix(arguments: Sequence[Argument]) -> CallEstimate:
    return CallEstimate(_known(arguments[1]).scaled(STRING_TRAVERSAL))


def _estimate_contains(arguments: Sequence[Argument]) -> CallEstimate:
    text, part = (_known(argument).scaled(STRING_TRAVERSAL) for argument in arguments)
    return CallEstimate(text * part)


def _estimate_matches(arguments: Sequence[Argument]) -> CallEstimate:
    text = (_known(arguments[0]) + ONE).scaled(STRING_TRAVERSAL)
    return CallEstimate(text * _known(arguments[1]).scaled(REGEX_LENGTH))


def _estimate_to_bytes(arguments: Sequence[Argument]) -> CallEstimate:
    known = _known(arguments[0])
    most = (known.max * 4) & UNKNOWN.max  # cel-go lets it wrap around
    return CallEstimate(known.scaled(STRING_TRAVERSAL), Range(known.min, most))


def _estimate_to_string(arguments: Sequence[Argument]) -> CallEstimate:
    known = _known(arguments[0])
    return CallEstimate(known.scaled(STRING_TRAVERSAL), Range(known.min // 4, known.max))


def _estimate_concatenation(arguments: Sequence[Argument]) -> CallEstimate:
    total = _known(arguments[0]) + _known(arguments[1])
    return CallEstimate(total.scaled(STRING_TRAVERSAL), total)


def _estimate_list_sum(arguments: Sequence[Argument]) -> CallEstimate:
    return CallEstimate(ONE, _known(arguments[0]) + _known(arguments[1]))


def _walk(length: float) -> int:
    return math.ceil(length * STRING_TRAVERSAL)


def cost_of_in(arguments: Sequence[Value], result: Value) -> int:  # noqa: ARG001 - the signature is given
    """Return the cost of a search in a list."""
    return size_of(arguments[1])


def cost_of_first(arguments: Sequence[Value], result: Value) -> int:  # noqa: ARG001 - the signature is given
    """Return the cost of walking through the first argument."""
    return _walk(size_of(arguments[0]))


def cost_of_smallest(arguments: Sequence[Value], result: Value) -> int:  # noqa: ARG001 - the signature is given
    """Return the cost of comparing two values as far as the shorter goes."""
    return _walk(min(size_of(arguments[0]), size_of(arguments[1])))


def cost_of_sum(arguments: Sequence[Value], result: Value) -> int:  # noqa: ARG001 - the signature is given
    """Return the cost of copying two texts."""
    return _walk(size_of(arguments[0]) + size_of(arguments[1]))


def cost_of_matches(arguments: Sequence[Value], result: Value) -> int:  # noqa: ARG001 - the signature is given
    """Return the cost of matching a text: its length times that of the pattern."""
    return _walk(1.0 + size_of(arguments[0])) * math.ceil(size_of(arguments[1]) * REGEX_LENGTH)


def cost_of_contains(arguments: Sequence[Value], result: Value) -> int:  # noqa: ARG001 - the signature is given
    """Return the cost of a search in a text."""
    return _walk(size_of(arguments[0])) * _walk(size_of(arguments[1]))


# texts


def _of_texts(decide: Callable[[str, str], bool]) -> Callable[[Value, Value], bool]:
    def call(text: Value, part: Value) -> bool:
        if type(text) is not str or type(part) is not str:
            raise no_overload()
        return decide(text, part)

    return call


def matches(text: Value, pattern: Value) -> bool:
    """Return whether a pattern of RE2 matches anywhere in a text."""
    if type(text) is not str:
        if type(text) in (Timestamp, Duration):
            raise no_overload()
        raise EvaluationFailed("no such overload: matches")
    if type(pattern) is not str:
        raise no_overload()
    return _search(pattern)(text)


def work_of_pattern(arguments: Sequence[Value]) -> int:
    """Return the work of compiling a pattern, as far as its length tells."""
    pattern = arguments[1]
    return 200 + 20 * len(pattern) if type(pattern) is str else 0


def _search(pattern: str) -> Callable[[str], bool]:
    try:
        return compiled(pattern).matches
    except ValueError as error:
        raise EvaluationFailed(str(error)) from error


def _matches_pattern(literals: Any) -> Callable[..., Value] | None:
    """Return `matches` with the pattern compiled where it is a literal."""
    pattern = literals.get(1)
    if type(pattern) is not str:
        return None
    search = _search(pattern)

    def call(text: Value, _: Value) -> bool:
        if type(text) is not str:
            raise no_overload()
        return search(text)

    return call


# declarations


def _binary(
    operator: str, call: Callable[..., Any], *signatures: tuple[str, Type, Type, Type], **more: Any
) -> Function:
    return Function(
        operator,
        tuple(
            Overload(id_, (left, right), result, call, **more)
            for id_, left, right, result in signatures
        ),
    )


def _comparison(operator: str, name: str, call: Callable[..., Any]) -> Function:
    numbers = {"int64": INT, "uint64": UINT, "double": DOUBLE}
    overloads = [
        Overload(f"{name}_bool", (BOOL, BOOL), BOOL, call),
        *(
            Overload(
                f"{name}_{left}" if left == right else f"{name}_{left}_{right}",
                (numbers[left], numbers[right]),
                BOOL,
                call,
            )
            for left, right in _NUMBER_PAIRS
        ),
        *(
            Overload(f"{name}_{kind}", (type_, type_), BOOL, call, cost=cost)
            for kind, type_, cost in (
                ("string", STRING, cost_of_smallest),
                ("bytes", BYTES, cost_of_smallest),
                ("timestamp", TIMESTAMP, None),
                ("duration", DURATION, None),
            )
        ),
    ]
    return Function(operator, tuple(overloads))


_NUMBER_PAIRS: Final = (
    ("int64", "int64"),
    ("int64", "double"),
    ("int64", "uint64"),
    ("uint64", "uint64"),
    ("uint64", "double"),
    ("uint64", "int64"),
    ("double", "double"),
    ("double", "int64"),
    ("double", "uint64"),
)


def _add() -> Function:
    def overload(id_: str, left: Type, right: Type, result: Type, **more: Any) -> Overload:
        return Overload(id_, (left, right), result, arithmetic.add, **more)

    joined = {"estimate": _estimate_concatenation, "cost": cost_of_sum}
    return Function(
        operators.ADD,
        (
            overload("add_bytes", BYTES, BYTES, BYTES, **joined),
            overload("add_double", DOUBLE, DOUBLE, DOUBLE),
            overload("add_duration_duration", DURATION, DURATION, DURATION),
            overload("add_duration_timestamp", DURATION, TIMESTAMP, TIMESTAMP),
            overload("add_timestamp_duration", TIMESTAMP, DURATION, TIMESTAMP),
            overload("add_int64", INT, INT, INT),
            overload("add_list", _LIST, _LIST, _LIST, estimate=_estimate_list_sum),
            overload("add_string", STRING, STRING, STRING, **joined),
            overload("add_uint64", UINT, UINT, UINT),
        ),
    )


def _conversion(name: str, *overloads: tuple[str, Type, Type, Callable[..., Any]]) -> Function:
    costs: dict[str, dict[str, Any]] = {
        "string_to_bytes": {"estimate": _estimate_to_bytes, "cost": cost_of_first},
        "bytes_to_string": {"estimate": _estimate_to_string, "cost": cost_of_first},
    }
    return Function(
        name,
        tuple(
            Overload(id_, (source,), target, call, is_charged_if_known=True, **costs.get(id_, {}))
            for id_, source, target, call in overloads
        ),
        validate=validate_time if name in ("timestamp", "duration") else None,
    )


def _same(value: Value) -> Value:
    return value


def _convert_type(value: Value) -> Type:
    return type_of(value)


def _sizes() -> Function:
    overloads: list[Overload] = []
    for name, type_ in (("bytes", BYTES), ("list", _LIST), ("map", _MAP), ("string", STRING)):
        overloads.append(Overload(f"size_{name}", (type_,), INT, size))
        overloads.append(Overload(f"{name}_size", (type_,), INT, size, is_member=True))
    return Function("size", tuple(overloads))


def _text_function(
    name: str, id_: str, decide: Callable[[str, str], bool], **more: Any
) -> Function:
    overload = Overload(id_, (STRING, STRING), BOOL, _of_texts(decide), is_member=True, **more)
    return Function(name, (overload,))


def _matches() -> Function:
    costs: dict[str, Any] = {"specialise": _matches_pattern, "work": work_of_pattern}
    return Function(
        "matches",
        (
            Overload("matches", (STRING, STRING), BOOL, matches, **costs),
            Overload(
                "matches_string",
                (STRING, STRING),
                BOOL,
                matches,
                is_member=True,
                estimate=_estimate_matches,
                cost=cost_of_matches,
                **costs,
            ),
        ),
        validate=validate_pattern,
    )


def _part(name: str, id_: str, read: Callable[[Moment], int], *more: tuple[str, int]) -> Function:
    """Return the function that reads a part of an instant, and of a span of time if `more` gives its unit."""

    def of_timestamp(value: Timestamp) -> int:
        return read(Moment(value.nanoseconds // NANOSECONDS))

    def in_zone(value: Timestamp, zone: str) -> int:
        return read(moment(value, zone))

    overloads = [
        Overload(id_, (TIMESTAMP,), INT, of_timestamp, is_member=True),
        Overload(f"{id_}_with_tz", (TIMESTAMP, STRING), INT, in_zone, is_member=True),
    ]
    for other, unit in more:
        overloads.append(Overload(other, (DURATION,), INT, _of_duration(unit), is_member=True))
    return Function(name, tuple(overloads))


def _of_duration(unit: int) -> Callable[[Duration], int]:
    return lambda value: int(seconds_of(value, unit))


def _milliseconds() -> Function:
    def of_timestamp(value: Timestamp) -> int:
        return value.nanoseconds % NANOSECONDS // 1_000_000

    def in_zone(value: Timestamp, zone: str) -> int:
        moment(value, zone)
        return of_timestamp(value)

    def of_duration(value: Duration) -> int:
        milliseconds = abs(value.nanoseconds) // 1_000_000
        return -milliseconds if value.nanoseconds < 0 else milliseconds

    id_ = "timestamp_to_milliseconds"
    return Function(
        "getMilliseconds",
        (
            Overload(id_, (TIMESTAMP,), INT, of_timestamp, is_member=True),
            Overload(f"{id_}_with_tz", (TIMESTAMP, STRING), INT, in_zone, is_member=True),
            Overload("duration_to_milliseconds", (DURATION,), INT, of_duration, is_member=True),
        ),
    )


_C = conversions
_FUNCTIONS: Final = (
    Function(
        operators.CONDITIONAL,
        (Overload("conditional", (BOOL, _A, _A), _A, _not_applicable),),
    ),
    _binary(operators.AND, _not_applicable, ("logical_and", BOOL, BOOL, BOOL)),
    _binary(operators.OR, _not_applicable, ("logical_or", BOOL, BOOL, BOOL)),
    Function(operators.NOT, (Overload("logical_not", (BOOL,), BOOL, arithmetic.invert),)),
    Function(
        operators.NOT_STRICTLY_FALSE,
        (Overload("not_strictly_false", (BOOL,), BOOL, _not_strictly_false),),
    ),
    _binary(operators.EQUALS, equal, ("equals", _A, _A, BOOL), cost=cost_of_smallest),
    _binary(
        operators.NOT_EQUALS,
        lambda left, right: not equal(left, right),
        ("not_equals", _A, _A, BOOL),
        cost=cost_of_smallest,
    ),
    _add(),
    _binary(
        operators.DIVIDE,
        arithmetic.divide,
        ("divide_double", DOUBLE, DOUBLE, DOUBLE),
        ("divide_int64", INT, INT, INT),
        ("divide_uint64", UINT, UINT, UINT),
    ),
    _binary(
        operators.MODULO,
        arithmetic.modulo,
        ("modulo_int64", INT, INT, INT),
        ("modulo_uint64", UINT, UINT, UINT),
    ),
    _binary(
        operators.MULTIPLY,
        arithmetic.multiply,
        ("multiply_double", DOUBLE, DOUBLE, DOUBLE),
        ("multiply_int64", INT, INT, INT),
        ("multiply_uint64", UINT, UINT, UINT),
    ),
    Function(
        operators.NEGATE,
        (
            Overload("negate_double", (DOUBLE,), DOUBLE, arithmetic.negate),
            Overload("negate_int64", (INT,), INT, arithmetic.negate),
        ),
    ),
    _binary(
        operators.SUBTRACT,
        arithmetic.subtract,
        ("subtract_double", DOUBLE, DOUBLE, DOUBLE),
        ("subtract_duration_duration", DURATION, DURATION, DURATION),
        ("subtract_int64", INT, INT, INT),
        ("subtract_timestamp_duration", TIMESTAMP, DURATION, TIMESTAMP),
        ("subtract_timestamp_timestamp", TIMESTAMP, TIMESTAMP, DURATION),
        ("subtract_uint64", UINT, UINT, UINT),
    ),
    _comparison(operators.LESS, "less", arithmetic.less),
    _comparison(operators.LESS_EQUALS, "less_equals", arithmetic.less_equals),
    _comparison(operators.GREATER, "greater", arithmetic.greater),
    _comparison(operators.GREATER_EQUALS, "greater_equals", arithmetic.greater_equals),
    _binary(
        operators.INDEX,
        _not_applicable,
        ("index_list", _LIST, INT, _A),
        ("index_map", _MAP, _A, _B),
    ),
    Function(
        operators.IN,
        (
            Overload("in_list", (_A, _LIST), BOOL, is_in, estimate=_estimate_in, cost=cost_of_in),
            Overload("in_map", (_A, _MAP), BOOL, is_in),
        ),
    ),
    _sizes(),
    Function("type", (Overload("type", (_A,), type_of_type(_A), _convert_type),)),
    _conversion(
        "bool",
        ("bool_to_bool", BOOL, BOOL, _same),
        ("string_to_bool", STRING, BOOL, _C.string_to_bool),
    ),
    _conversion(
        "bytes",
        ("bytes_to_bytes", BYTES, BYTES, _same),
        ("string_to_bytes", STRING, BYTES, _C.string_to_bytes),
    ),
    _conversion(
        "double",
        ("double_to_double", DOUBLE, DOUBLE, _same),
        ("int64_to_double", INT, DOUBLE, _C.to_double),
        ("string_to_double", STRING, DOUBLE, _C.string_to_double),
        ("uint64_to_double", UINT, DOUBLE, _C.to_double),
    ),
    _conversion(
        "duration",
        ("duration_to_duration", DURATION, DURATION, _same),
        ("int64_to_duration", INT, DURATION, _C.int_to_duration),
        ("string_to_duration", STRING, DURATION, _C.string_to_duration),
    ),
    _conversion("dyn", ("to_dyn", _A, DYN, _same)),
    _conversion(
        "int",
        ("int64_to_int64", INT, INT, _same),
        ("double_to_int64", DOUBLE, INT, _C.double_to_int),
        ("duration_to_int64", DURATION, INT, _C.duration_to_int),
        ("string_to_int64", STRING, INT, _C.string_to_int),
        ("timestamp_to_int64", TIMESTAMP, INT, _C.timestamp_to_int),
        ("uint64_to_int64", UINT, INT, _C.uint_to_int),
    ),
    _conversion(
        "string",
        ("string_to_string", STRING, STRING, _same),
        ("bool_to_string", BOOL, STRING, _C.bool_to_string),
        ("bytes_to_string", BYTES, STRING, _C.bytes_to_string),
        ("double_to_string", DOUBLE, STRING, _C.double_to_string),
        ("duration_to_string", DURATION, STRING, _C.duration_to_string),
        ("int64_to_string", INT, STRING, _C.int_to_string),
        ("timestamp_to_string", TIMESTAMP, STRING, _C.timestamp_to_string),
        ("uint64_to_string", UINT, STRING, _C.int_to_string),
    ),
    _conversion(
        "timestamp",
        ("timestamp_to_timestamp", TIMESTAMP, TIMESTAMP, _same),
        ("int64_to_timestamp", INT, TIMESTAMP, _C.int_to_timestamp),
        ("string_to_timestamp", STRING, TIMESTAMP, _C.string_to_timestamp),
    ),
    _conversion(
        "uint",
        ("uint64_to_uint64", UINT, UINT, _same),
        ("double_to_uint64", DOUBLE, UINT, _C.double_to_uint),
        ("int64_to_uint64", INT, UINT, _C.int_to_uint),
        ("string_to_uint64", STRING, UINT, _C.string_to_uint),
    ),
    _text_function(
        "contains",
        "contains_string",
        lambda text, part: part in text,
        estimate=_estimate_contains,
        cost=cost_of_contains,
    ),
    _text_function(
        "endsWith", "ends_with_string", str.endswith, estimate=_estimate_affix, cost=cost_of_first
    ),
    _text_function(
        "startsWith",
        "starts_with_string",
        str.startswith,
        estimate=_estimate_affix,
        cost=cost_of_first,
    ),
    _matches(),
    _part("getFullYear", "timestamp_to_year", lambda at: at.year),
    _part("getMonth", "timestamp_to_month", lambda at: at.month - 1),
    _part("getDayOfYear", "timestamp_to_day_of_year", lambda at: at.day_of_year),
    _part("getDayOfMonth", "timestamp_to_day_of_month", lambda at: at.day - 1),
    _part("getDate", "timestamp_to_day_of_month_1_based", lambda at: at.day),
    _part("getDayOfWeek", "timestamp_to_day_of_week", lambda at: at.weekday),
    _part(
        "getHours",
        "timestamp_to_hours",
        lambda at: at.seconds // 3600,
        ("duration_to_hours", 3600 * NANOSECONDS),
    ),
    _part(
        "getMinutes",
        "timestamp_to_minutes",
        lambda at: at.seconds // 60 % 60,
        ("duration_to_minutes", 60 * NANOSECONDS),
    ),
    _part(
        "getSeconds",
        "timestamp_to_seconds",
        lambda at: at.seconds % 60,
        ("duration_to_seconds", NANOSECONDS),
    ),
    _milliseconds(),
)

STANDARD: Final = Library(
    "standard",
    _FUNCTIONS,
    types=(
        BOOL,
        BYTES,
        DOUBLE,
        DURATION,
        INT,
        types.LIST,
        types.MAP,
        types.NULL,
        STRING,
        TIMESTAMP,
        types.TYPE,
        UINT,
    ),
)
