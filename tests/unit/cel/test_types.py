"""Types: their texts, and what may stand for what."""

import pytest

from kubelite.cel import types
from kubelite.cel.types import (
    BOOL,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    Type,
    list_of,
    map_of,
    nullable,
)
from kubelite.cel.unification import assign, most_general, substitute

A = types.parameter("A")


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (INT, "int"),
        (NULL, "null"),
        (DURATION, "duration"),
        (types.ERROR, "!error!"),
        (list_of(map_of(STRING, DYN)), "list(map(string, dyn))"),
        (nullable(INT), "wrapper(int)"),
        (types.optional_of(BOOL), "optional_type(bool)"),
        (types.type_of_type(INT), "type(int)"),
        (types.struct("Self.spec"), "Self.spec"),
        (A, "A"),
    ],
)
def test_texts(type_: Type, text: str) -> None:
    assert str(type_) == text


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (INT, INT, True),
        (INT, STRING, False),
        (DYN, INT, True),
        (INT, DYN, True),
        (list_of(DYN), list_of(INT), True),
        (list_of(STRING), list_of(INT), False),
        (NULL, DURATION, True),
        (NULL, INT, False),
        (NULL, nullable(INT), True),
        (nullable(INT), INT, True),
        (types.struct("A"), types.struct("B"), False),
        (types.struct("A"), NULL, True),
    ],
)
def test_what_may_stand_for_what(source: Type, target: Type, expected: bool) -> None:
    assert (assign({}, [source], [target]) is not None) is expected


def test_parameters_are_bound_once_for_all_arguments() -> None:
    bindings = assign({}, [INT, list_of(INT)], [A, list_of(A)])
    assert bindings is not None
    assert substitute(bindings, list_of(A)).is_same(list_of(INT))
    assert assign({}, [INT, list_of(STRING)], [A, list_of(A)]) is None


def test_a_failed_attempt_binds_nothing() -> None:
    bindings: dict[str, Type] = {}
    assert assign(bindings, [INT, INT], [A, STRING]) is None
    assert not bindings


def test_a_parameter_never_stands_for_what_contains_it() -> None:
    assert assign({}, [list_of(A)], [A]) is None


def test_what_is_not_bound_becomes_dyn_in_the_end() -> None:
    assert substitute({}, list_of(A), to_dyn=True).is_same(list_of(DYN))
    assert most_general(list_of(DYN), list_of(INT)).is_same(list_of(DYN))
