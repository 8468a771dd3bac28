"""Random expressions over random values: both ways of evaluating them agree, in values, errors and costs."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kubelite.cel.environment import Evaluation, Program
from kubelite.cel.failures import CompileFailed, ProgramFailed
from kubelite.cel.frame import CostExceeded
from kubelite.cel.kubernetes import BASE
from kubelite.cel.types import BOOL, DOUBLE, DYN, INT, STRING, list_of, map_of
from kubelite.cel.values import EvaluationFailed, Optional, equal

ENVIRONMENT = BASE.extended(
    variables={
        "i": INT,
        "f": DOUBLE,
        "s": STRING,
        "b": BOOL,
        "d": DYN,
        "l": list_of(INT),
        "ls": list_of(STRING),
        "m": map_of(STRING, DYN),
    }
)
WORK = 10_000
LIMIT = 20_000

NUMBERS = st.sampled_from(
    (
        "0",
        "1",
        "-1",
        "7",
        "9223372036854775807",
        "i",
        "l[0]",
        "l.size()",
        "s.size()",
        "int(f)",
        "m.a",
        "d",
    )
)
TEXTS = st.sampled_from(
    ("''", "'a'", "'hello world, twice'", "s", "ls[0]", "string(i)", "m.s", "d", "s + s")
)
LISTS = st.sampled_from(("l", "[1, 2, i]", "[]", "l + [i]", "d", "[i / l[0]]"))
MAPS = st.sampled_from(("m", "{'a': i}", "{}", "d", "{s: 1, 'b': i}"))


def numbers(bools: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arithmetic = st.tuples(NUMBERS, st.sampled_from("+-*/%"), NUMBERS).map(
        lambda part: f"({part[0]} {part[1]} {part[2]})"
    )
    choice = st.tuples(bools, NUMBERS, NUMBERS).map(
        lambda part: f"({part[0]} ? {part[1]} : {part[2]})"
    )
    optional = MAPS.map(lambda entries: f"{entries}.?a.orValue(5)")
    bound = MAPS.map(lambda entries: f"{entries}.?a.optMap(q, [q, q]).orValue([]).size()")
    return st.one_of(NUMBERS, arithmetic, choice, optional, bound)


def simple(bools: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    compared = st.tuples(
        numbers(bools), st.sampled_from(("==", "!=", "<", "<=", ">", ">=")), numbers(bools)
    ).map(" ".join)
    texts = st.tuples(TEXTS, st.sampled_from(("==", "<", "!=")), TEXTS).map(" ".join)
    searched = st.tuples(NUMBERS, LISTS).map(lambda part: f"{part[0]} in {part[1]}")
    keyed = st.tuples(TEXTS, MAPS).map(lambda part: f"{part[0]} in {part[1]}")
    affix = st.tuples(TEXTS, st.sampled_from(("startsWith", "endsWith", "contains")), TEXTS).map(
        lambda part: f"{part[0]}.{part[1]}({part[2]})"
    )
    present = MAPS.map(lambda entries: f"has({entries}.a)")
    whole = st.tuples(LISTS, LISTS).map(lambda part: f"{part[0]} == {part[1]}")
    return st.one_of(
        st.sampled_from(("b", "true", "false", "d")),
        compared,
        texts,
        searched,
        keyed,
        affix,
        present,
        whole,
    )


def combined(bools: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    logic = st.tuples(bools, st.sampled_from(("&&", "||")), bools).map(
        lambda part: f"({' '.join(part)})"
    )
    loops = st.tuples(LISTS, st.sampled_from(("all", "exists", "exists_one")), bools).map(
        lambda part: f"{part[0]}.{part[1]}(i, {part[2]})"
    )
    pairs = st.tuples(MAPS, st.sampled_from(("all", "exists", "existsOne")), bools).map(
        lambda part: f"{part[0]}.{part[1]}(s, d, {part[2]})"
    )
    built = st.tuples(LISTS, bools, numbers(bools)).map(
        lambda part: f"{part[0]}.filter(i, {part[1]}).map(i, {part[2]}).size() > 1"
    )
    mapped = st.tuples(MAPS, bools, numbers(bools)).map(
        lambda part: f"{part[0]}.transformMap(s, d, {part[1]}, {part[2]}) != {{}}"
    )
    return st.one_of(
        logic, bools.map(lambda part: f"!({part})"), loops, pairs, built, mapped, simple(bools)
    )


EXPRESSIONS = st.recursive(simple(st.just("b")), combined, max_leaves=6)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from((0.5, 1.0, -2.0)),
    st.sampled_from(("", "a", "hello")),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abs"), inner, max_size=3)
    ),
    max_leaves=5,
)
VALUES = st.fixed_dictionaries(
    {
        "i": st.sampled_from((0, 1, -5, 2**63 - 1, -(2**63))),
        "f": st.floats(),
        "s": st.text(max_size=12),
        "b": st.booleans(),
        "d": TREES,
        "l": st.lists(st.integers(-3, 3), max_size=4),
        "ls": st.lists(st.sampled_from(("", "a", "hello world")), max_size=3),
        "m": st.dictionaries(st.sampled_from("abs"), TREES, max_size=3),
    }
)


def compiled(text: str) -> Program | None:
    try:
        return ENVIRONMENT.compile(text)
    except (CompileFailed, ProgramFailed):
        return None


def outcome(way: Any, values: dict[str, Any], limit: int) -> Evaluation | None:
    try:
        evaluation: Evaluation = way(values, limit, WORK)
    except CostExceeded:
        return None
    return evaluation


@settings(max_examples=400)
@given(EXPRESSIONS, VALUES, st.sampled_from((LIMIT, 20, 5)))
def test_the_fast_way_agrees_with_the_exact_one(
    text: str, values: dict[str, Any], limit: int
) -> None:
    program = compiled(text)
    if program is None:
        return
    fast = outcome(program.evaluate, values, limit)
    exact = outcome(program._evaluate_exactly, values, limit)
    if fast is None or exact is None:
        assert fast is exact
        return
    assert fast.cost == exact.cost
    if isinstance(exact.value, EvaluationFailed):
        assert fast.value.text == exact.value.text
    else:
        assert equal(fast.value, exact.value)
        assert not isinstance(exact.value, Optional)


@settings(max_examples=200)
@given(EXPRESSIONS, VALUES)
def test_an_evaluation_leaves_its_values_as_they_were(text: str, values: dict[str, Any]) -> None:
    program = compiled(text)
    if program is None:
        return
    before = repr(values)
    outcome(program.evaluate, values, LIMIT)
    assert repr(values) == before
