"""The types that the expressions of mutations write out."""

from typing import Any

import pytest

from kubelite.api.machinery.mutation_types import (
    JSON_PATCHES,
    OBJECT,
    ObjectValue,
    PatchTypes,
    find_misnamed,
)
from kubelite.cel.environment import Environment
from kubelite.cel.failures import CompileFailed
from kubelite.cel.kubernetes import MUTATIONS
from kubelite.cel.libraries.jsonpatch import JSONPatch
from kubelite.cel.types import DYN
from kubelite.cel.values import EvaluationFailed

ENVIRONMENT = Environment(MUTATIONS, structs=PatchTypes({}), variables={"object": DYN})


def evaluate(text: str, **variables: Any) -> Any:
    return ENVIRONMENT.compile(text).evaluate(variables).value


def test_an_object_has_the_type_of_its_name_and_fields_of_any_name() -> None:
    value = evaluate("Object{spec: Object.spec{replicas: 2, anything: object.x}}", object={"x": 1})
    assert isinstance(value, ObjectValue)
    assert value.type_name == "Object"
    assert dict(value) == {"spec": evaluate("Object.spec{replicas: 2, anything: 1}")}
    assert ENVIRONMENT.compile("Object{}").type.is_same(OBJECT)
    assert not ENVIRONMENT.compile("Object.spec{}").type.is_same(OBJECT)


def test_an_absent_optional_leaves_its_field_out() -> None:
    text = "Object{?metadata: optional.none(), ?spec: optional.of(1)}"
    assert dict(evaluate(text)) == {"spec": 1}


def test_fields_of_an_object_can_be_selected_and_tested() -> None:
    assert evaluate("Object{a: 1}.a") == 1
    assert evaluate("has(Object{a: 1}.b)") is False


@pytest.mark.parametrize(
    ("text", "is_equal"),
    [
        ("Object{a: 1} == Object{a: 1}", True),
        ("Object{a: 1} == Object{a: 2}", False),
        ("Object{a: 1} != Object{b: 1}", True),
        ("dyn(Object.a{}) == dyn(Object.b{})", False),
    ],
)
def test_objects_are_equal_within_their_type(text: str, is_equal: bool) -> None:
    assert evaluate(text) is is_equal


def test_an_expression_can_make_json_patches() -> None:
    value = evaluate("[JSONPatch{op: 'add', path: '/' + jsonpatch.escapeKey('a/b'), value: 1}]")
    assert value == [JSONPatch({"op": "add", "path": "/a~1b", "value": 1})]
    assert ENVIRONMENT.compile("[JSONPatch{op: 'x'}]").type.is_same(JSON_PATCHES)
    assert not ENVIRONMENT.compile("[]").type.is_same(JSON_PATCHES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[JSONPatch{pathh: '/x'}]",
            "expected type of field 'pathh' is '' but provided type is 'string'",
        ),
        (
            "[JSONPatch{op: 1}]",
            "expected type of field 'op' is 'string' but provided type is 'int'",
        ),
        ("Objects{}", "undeclared reference to 'Objects' (in container '')"),
    ],
)
def test_what_does_not_exist_is_refused_as_kubernetes_words_it(text: str, message: str) -> None:
    with pytest.raises(CompileFailed) as refused:
        ENVIRONMENT.compile(text)
    assert message in str(refused.value)


def test_a_dynamic_value_does_not_get_a_field_into_a_patch_that_it_lacks() -> None:
    value = evaluate("[JSONPatch{op: 'add', pathh: dyn('x')}]")
    assert isinstance(value, EvaluationFailed)
    assert value.text == "unexpected JSONPatchType field: pathh"


def test_other_types_of_an_environment_stay() -> None:
    types = PatchTypes({"own": PatchTypes({})["Object"]})
    assert "own" in types
    assert set(types) == {"own", "JSONPatch"}
    assert "Object.spec" in types
    assert "Objection" not in types
    with pytest.raises(KeyError):
        types["Objection"]


@pytest.mark.parametrize(
    ("text", "misnamed"),
    [
        ("Object{spec: Object.spec{}}", []),
        ("Object{spec: Object.spec{containers: [Object.spec.containers{}]}}", []),
        ("Object{spec: {'a': Object.spec{}}}", []),
        ("Object.metadata.labels{a: 'b'}", []),
        ("Object{metadata: Object.spec{a: 'b'}}", [("Object.spec", "Object.metadata")]),
        (
            "Object{spec: [dyn(Object.x{}), dyn(Object.y{})]}",
            [("Object.x", "Object.spec"), ("Object.y", "Object.spec")],
        ),
        (
            "Object{spec: Object.wrong{a: Object.spec.b{}}}",
            [("Object.wrong", "Object.spec"), ("Object.spec.b", "Object.spec.a")],
        ),
    ],
)
def test_objects_are_named_after_their_places(text: str, misnamed: list[tuple[str, str]]) -> None:
    assert find_misnamed(evaluate(text)) == [
        f'unexpected type name "{found}", expected "{expected}", '
        "which matches field name path from root Object type"
        for found, expected in misnamed
    ]
