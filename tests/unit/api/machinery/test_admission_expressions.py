"""The environments of admission's expressions, and what they say about what does not compile."""

import pytest

from kubelite.api.machinery.admission_expressions import (
    CONDITION,
    TEXT_OR_NULL,
    Composition,
    compiled,
    declared_type,
    environment,
    type_text,
)
from kubelite.cel import types
from kubelite.cel.types import Type, list_of, map_of, optional_of


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("object.a == 1", ""),
        ("request.operation == 'CREATE' && request.userInfo.groups.exists(g, g == 'a')", ""),
        ("namespaceObject.metadata.labels['a'] == 'b'", ""),
        ("1", "must evaluate to bool but got int"),
        ("{'a': [1]}", "must evaluate to bool but got map(string, list(int))"),
        ("int('abc') == 1", "program instantiation failed: "),
        ("request.object == 1", "compilation failed: ERROR: <input>:1:8: undefined field 'object'"),
        ("params == 1", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params'"),
        ("variables.a == 1", "compilation failed: ERROR: <input>:1:1: undeclared reference to"),
    ],
)
def test_errors(text: str, error: str) -> None:
    found = compiled(environment(has_params=False, has_authorizer=True), text, CONDITION)
    assert (found.program is None) == bool(error)
    assert found.error.startswith(error)
    assert found.is_internal == error.startswith("program")


def test_one_of_several_results() -> None:
    surroundings = environment(has_params=False, has_authorizer=False)
    assert not compiled(surroundings, "null", TEXT_OR_NULL).error
    found = compiled(surroundings, "[1]", TEXT_OR_NULL)
    assert found.error == "must evaluate to one of [string null_type] but got list(int)"
    assert "undeclared" in compiled(surroundings, "authorizer == 1", CONDITION).error


@pytest.mark.parametrize(
    ("type_", "known"),
    [
        (types.INT, "int"),
        (types.TIMESTAMP, "google.protobuf.Timestamp"),
        (list_of(map_of(types.STRING, types.BOOL)), "list(map(string, bool))"),
        (list_of(types.struct("a.B")), "list(dyn)"),
        (optional_of(types.INT), "dyn"),
        (types.struct("a.B"), "dyn"),
    ],
)
def test_how_a_variable_is_known(type_: Type, known: str) -> None:
    assert type_text(declared_type(type_)) == known


def test_a_variable_that_does_not_compile_may_be_used_all_the_same() -> None:
    composition = Composition(has_params=True)
    composition.add_variables([("a", "nothing"), ("b", "variables.a == 1")])
    assert composition.variables["a"].error
    assert not composition.variables["b"].error
    assert not composition.compile("variables.b", CONDITION).error
    assert "undefined field 'c'" in composition.compile("variables.c", CONDITION).error
