"""Values, errors and costs of evaluations, and how programs are shared."""

from collections.abc import Mapping

import pytest

from kubelite.cel import types
from kubelite.cel.declarations import Field, Range, StructType
from kubelite.cel.environment import Environment
from kubelite.cel.failures import CompileFailed, ProgramFailed
from kubelite.cel.frame import CostExceeded
from kubelite.cel.kubernetes import BASE
from kubelite.cel.types import DYN, INT, STRING, Type, list_of, map_of
from kubelite.cel.values import (
    NONE,
    Duration,
    EvaluationFailed,
    Optional,
    Timestamp,
    UInt,
    Value,
)

VARIABLES: Mapping[str, Type | Field] = {
    "i": INT,
    "s": STRING,
    "d": DYN,
    "l": list_of(INT),
    "ls": list_of(STRING),
    "m": map_of(STRING, DYN),
    "n": types.nullable(INT),
    "self": types.struct("Self"),
}
ENVIRONMENT = BASE.extended(
    variables=VARIABLES,
    structs={
        "Self": StructType(
            {
                "name": Field(STRING),
                "a__dot__b": Field(INT, key="a.b"),
                "rate": Field(types.DOUBLE, read=float),
                "labels": Field(map_of(STRING, STRING)),
            }
        )
    },
)
VALUES: Mapping[str, Value] = {
    "i": 7,
    "s": "hello",
    "d": {"a": [1, "b"], "t": True},
    "l": [3, 1, 2],
    "ls": ["a", "b"],
    "m": {"a": 1, "b": {"c": 2}},
    "n": None,
    "self": {"name": "web", "a.b": 5, "rate": 2, "labels": {"app": "x"}},
}


def outcome(text: str) -> tuple[Value, int]:
    """Return the value, or the text of the error, and the cost."""
    evaluation = ENVIRONMENT.compile(text).evaluate(VALUES)
    value = evaluation.value
    return (value.text if isinstance(value, EvaluationFailed) else value), evaluation.cost


@pytest.mark.parametrize(
    ("text", "value", "cost"),
    [
        ("1 + 2", 3, 1),
        ("7 / -2", -3, 1),
        ("-7 % 2", -1, 1),
        ("2u * 3u", UInt(6), 1),
        ("1.5 + 2.0", 3.5, 1),
        ("1.0 / 0.0", float("inf"), 1),
        ("i == 7", True, 2),
        ("dyn(1) == 1u", True, 1),
        ("'a' < 'b'", True, 1),
        ("s + ' world'", "hello world", 3),
        ("s.size() + size(l)", 8, 5),
        ("i in l", False, 5),
        ("s in ['hello', 'b']", True, 1),
        ("'a' in m", True, 2),
        ("l[0] + l[2]", 5, 5),
        ("m.b.c", 2, 3),
        ("m['b']['c']", 2, 3),
        ("has(m.a) && !has(m.z)", True, 3),
        ("has(m.b.c)", True, 2),
        ("i > 5 ? s : 'x'", "hello", 2),
        ("i > 5 ? m.a : m.b", 1, 3),
        ("l[i - 7]", 3, 4),
        ("l.all(x, x > 0)", True, 17),
        ("l.all(x, x > 2)", False, 14),
        ("l.exists(x, x == 1)", True, 17),
        ("l.exists_one(x, x < 2)", True, 11),
        ("l.map(x, x * 2)", [6, 2, 4], 44),
        ("l.filter(x, x > 1)", [3, 2], 34),
        ("l.map(x, 1)", [1, 1, 1], 8),
        ("m.transformMap(k, v, k)", {"a": "a", "b": "b"}, 10),
        ("[1, 2].transformMapEntry(i, v, {v: i})", {1: 0, 2: 1}, 69),
        ("[i, 1]", [7, 1], 11),
        ("{'a': i}", {"a": 7}, 31),
        ("{?'a': ls[?9], 'b': 'x'}", {"b": "x"}, 31),
        ("[?m.?a, ?m.?z]", [1], 13),
        ("m.?b.?c", Optional(2), 3),
        ("m.?b.c", Optional(2), 3),
        ("m.?z.c", NONE, 1),
        ("m.?z.orValue(5)", 5, 1),
        ("m.?a.or(m.?b)", Optional(1), 2),
        ("m.?a.optMap(x, [x])", Optional([1]), 18),
        ("m.?z.optMap(x, [x])", NONE, 3),
        ("type(i) == int", True, 3),
        ("self.a__dot__b", 5, 2),
        ("self.rate / 4.0", 0.5, 3),
        ("self.labels.all(k, k.size() < 4)", True, 9),
        ("n == null", True, 2),
        ("timestamp('2024-02-29T01:00:00+01:00')", Timestamp(1709164800 * 10**9), 0),
        ("duration('90m').getHours()", 1, 1),
        ("duration('1h') - duration('1s')", Duration(3599 * 10**9), 1),
        ("s.matches('^h.*o$')", True, 3),
        ("s.startsWith('he') && s.endsWith('lo') && s.contains('ell')", True, 6),
    ],
)  # fmt: skip
def test_values_and_costs(text: str, value: Value, cost: int) -> None:
    assert outcome(text) == (value, cost)


@pytest.mark.parametrize(
    ("text", "error", "cost"),
    [
        ("i / 0", "division by zero", 2),
        ("i % 0", "modulus by zero", 2),
        ("9223372036854775807 + i", "integer overflow", 2),
        ("1u - 2u", "unsigned integer overflow", 1),
        ("m.z", "no such key: z", 2),
        ("m.z.y", "no such key: z", 2),
        ("m['z'] + 1", "no such key: z", 3),
        ("l[9]", "index out of bounds: 9", 2),
        ("l[-1]", "index out of bounds: -1", 2),
        ("d.a[true]", "unsupported index type 'bool' in list", 3),
        ("d.t + 1", "no such overload: _+_", 3),
        ("d.a.all(x, x > 0)", "no such overload", 13),
        ("!d.a", "no such overload", 3),
        ("int(d.a)", "no such overload: int(list)", 3),
        ("l.map(x, 1 / (x - 3))", "division by zero", 47),
        ("d.a[0].all(x, true)", "got 'types.Int', expected iterable type", 3),
        ("[1, 1].transformMapEntry(i, v, {v: i})", "insert failed: key 1 already exists", 69),
        ("optional.none().value()", "optional.none() dereference", 2),
    ],
)
def test_errors_and_what_they_cost(text: str, error: str, cost: int) -> None:
    assert outcome(text) == (error, cost)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("m.z == 1 || true", True),
        ("true || m.z == 1", True),
        ("m.z == 1 && false", False),
        ("m.z == 1 || false", "no such key: z"),
        ("1 / 0 == 1 || m.z == 1", "division by zero"),
        ("[0, 1].exists(x, 1 / x == 1)", True),
        ("[0, 1].all(x, 1 / x == 5)", False),
        ("[0, 1].all(x, 1 / x == 1)", "division by zero"),
        ("[1, 0].map(x, 1 / x).size() > 0 || true", True),
    ],
)
def test_logic_absorbs_errors(text: str, value: Value) -> None:
    assert outcome(text)[0] == value


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("int('x')", "type conversion error from 'string' to 'int'"),
        ("uint(-1)", "unsigned integer overflow"),
        ("[1].map(x, bool('no'))", "type conversion error from 'string' to 'bool'"),
        ("string(b'\\xff')", "invalid UTF-8 in bytes, cannot convert to string"),
    ],
)
def test_literals_that_have_no_value_are_refused_with_the_expression(text: str, error: str) -> None:
    with pytest.raises(ProgramFailed, match=f"^{error}$"):
        ENVIRONMENT.compile(text)


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("i + 1", Range(2, 2)),
        ("s == 'hello'", Range(2, 2)),
        ("s == s", Range(3, 2 + (1 << 64) // 10 + 1)),
        ("i > 1 || l == [1]", Range(2, 14)),
        ("i > 1 ? [1] : [2, 3]", Range(12, 12)),
        ("'abcdefghijk' + 'b'", Range(2, 2)),
        ("[1, 2].map(x, x + 1)", Range(49, 49)),
        ("['aaaaaaaaaaaa'].all(x, x == x)", Range(14, 18)),
    ],
)
def test_costs_are_estimated(text: str, cost: Range) -> None:
    estimated = ENVIRONMENT.compile(text).cost
    assert estimated.min == cost.min
    assert estimated.max == pytest.approx(cost.max)


def test_sizes_that_a_schema_bounds_bound_the_estimate() -> None:
    def sizes(path: tuple[str, ...], type_: Type) -> Range | None:
        return {("ls",): Range(0, 5), ("ls", "@items"): Range(0, 20)}.get(path)

    environment = BASE.extended(variables=VARIABLES, sizes=sizes)
    assert environment.compile("ls.all(x, x == 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')").cost == Range(
        2, 32
    )
    assert environment.compile("ls.all(x, ls.all(y, x == y))").cost.max == 202


def test_a_variable_that_is_missing_fails_only_where_it_is_needed() -> None:
    program = ENVIRONMENT.compile("i > 5 || s == ''")
    assert program.variables == {"i", "s"}
    assert program.evaluate({"i": 7}).value is True
    failed = program.evaluate({"i": 1}).value
    assert isinstance(failed, EvaluationFailed)
    assert failed.text == "no such attribute(s): s"


def test_an_evaluation_stops_at_its_limit() -> None:
    program = ENVIRONMENT.compile("l.map(x, l.map(y, x + y)).size() > 0")
    cost = program.evaluate(VALUES).cost
    assert program.evaluate(VALUES, cost).cost == cost
    with pytest.raises(CostExceeded, match="operation cancelled: actual cost limit exceeded"):
        program.evaluate(VALUES, cost - 1)


def test_programs_are_shared_by_text_and_long_ones_are_not_kept() -> None:
    assert ENVIRONMENT.compile("i + 1") is ENVIRONMENT.compile("i + 1")
    assert ENVIRONMENT.compile("i + 1") is not BASE.extended(variables=VARIABLES).compile("i + 1")
    long_text = "i + 1" + " " * 5000
    assert ENVIRONMENT.compile(long_text) is not ENVIRONMENT.compile(long_text)


def test_an_extended_environment_leaves_the_other_as_it_is() -> None:
    with pytest.raises(CompileFailed):
        BASE.compile("i")
    assert BASE.functions is ENVIRONMENT.functions


def test_the_standard_functions_need_no_library() -> None:
    program = Environment(variables={"x": INT}).compile("[x].exists(y, y == 1)")
    assert program.evaluate({"x": 1}).value is True
