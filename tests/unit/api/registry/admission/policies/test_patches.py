"""What the values of mutations make of an object."""

from typing import Any

import pytest

from kubelite.api.errors import RequestEntityTooLarge
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.mutation_types import PatchTypes
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.registry.admission.policies.patches import (
    PatchFailed,
    applied,
    json_patched,
    operations_of,
)
from kubelite.cel.environment import Environment
from kubelite.cel.kubernetes import MUTATIONS
from kubelite.cel.types import DYN

ENVIRONMENT = Environment(MUTATIONS, structs=PatchTypes({}), variables={"object": DYN})
CONFIG_MAP = compile_struct(ConfigMap)
POD = compile_struct(Pod)
PREFIX = "error applying patch: "


def evaluate(text: str, item: Any = None) -> Any:
    return ENVIRONMENT.compile(text).evaluate({"object": item}).value


def config_map() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1"}}


def pod() -> dict[str, Any]:
    container = {"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}}


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("[JSONPatch{op: 'add', path: '/data/b', value: '2'}]", {"a": "1", "b": "2"}),
        ("[JSONPatch{op: 'remove', path: '/data/a'}]", {}),
        ("[JSONPatch{op: 'move', from: '/data/a', path: '/data/z'}]", {"z": "1"}),
        ("[JSONPatch{op: 'copy', from: '/data/a', path: '/data/z'}]", {"a": "1", "z": "1"}),
        ("[JSONPatch{op: 'add', path: '/data', value: Object.data{x: 'y'}}]", {"x": "y"}),
        ("[JSONPatch{op: 'add', path: '/data', value: {'x': 'y'}}]", {"x": "y"}),
        ("[JSONPatch{op: 'test', path: '/data/a', value: '1'}]", {"a": "1"}),
    ],
)
def test_operations_of_a_json_patch_are_applied(text: str, data: dict[str, str]) -> None:
    patched = json_patched(config_map(), evaluate(text))
    assert patched is not None
    assert patched["data"] == data


def test_a_failed_test_means_that_nothing_is_patched() -> None:
    text = (
        "[JSONPatch{op: 'test', path: '/data/a', value: '9'},"
        " JSONPatch{op: 'remove', path: '/data/a'}]"
    )
    assert json_patched(config_map(), evaluate(text)) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[JSONPatch{op: 'remove', path: '/data/zz'}]",
            (
                "JSON Patch: error in remove for path: '/data/zz': Unable to remove nonexistent key: zz: "
                "missing value"
            ),
        ),
        ("[JSONPatch{op: 'frob', path: '/data/a'}]", "JSON Patch: Unexpected kind: frob"),
        (
            "[JSONPatch{op: 'add', path: 'data', value: '5'}]",
            'JSON Patch: add operation does not apply: doc is missing path: "data": missing value',
        ),
        (
            "[JSONPatch{op: 'add', path: '/data', value: Object.data{a: Object.b{}}}]",
            (
                'type mismatch: unexpected type name "Object.b", expected "Object.data.a", '
                "which matches field name path from root Object type"
            ),
        ),
        (
            "[JSONPatch{op: 'add', path: '/data', value: {1: 'x'}}]",
            (
                "JSONPath valueExpression evaluated to a type that could not marshal to JSON: "
                'map key "1" is of type int, not string'
            ),
        ),
        (
            "[JSONPatch{op: 'add', path: '/data', value: 0.0 / 0.0}]",
            (
                "JSONPath valueExpression evaluated to a type that could not marshal to JSON: "
                "google.protobuf.Value cannot have NaN or Infinity"
            ),
        ),
        (
            "[JSONPatch{op: 'add', path: '/data', value: quantity('1')}]",
            (
                "JSONPath valueExpression evaluated to a type that could not marshal to JSON: "
                "unsupported type kubernetes.Quantity"
            ),
        ),
    ],
)
def test_a_patch_that_cannot_be_applied_says_why(text: str, message: str) -> None:
    with pytest.raises(PatchFailed) as failed:
        json_patched(config_map(), evaluate(text))
    assert str(failed.value) == message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("2u", 2),
        ("9007199254740991", 9007199254740991),
        ("9007199254740992", "9007199254740992"),
        ("5.0", 5),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ("b'hi'", "aGk="),
        ("timestamp('2024-01-02T03:04:05Z')", "2024-01-02T03:04:05Z"),
        ("duration('90s')", "90s"),
        ("[[1], [2]]", [[1], [2]]),
        ("{'a': {'b': [1]}}", {"a": {"b": [1]}}),
        ("Object.a{b: Object.a.b{c: [1]}}", {"b": {"c": [1]}}),
    ],
)
def test_values_of_operations_become_json_as_with_protobuf(text: str, value: Any) -> None:
    patch = evaluate(f"[JSONPatch{{op: 'add', path: '/x', value: {text}}}]")
    (operation,) = operations_of(patch)
    assert operation == {"op": "add", "path": "/x", "value": value}
    assert type(operation["value"]) is type(value)


def test_an_absent_value_and_source_stay_absent() -> None:
    assert operations_of(evaluate("[JSONPatch{op: 'remove', path: '/x'}]")) == [
        {"op": "remove", "path": "/x"}
    ]


def test_a_list_that_repeats_a_large_value_is_refused_before_it_is_copied() -> None:
    """Expressions pay little for a reference to a large text, and the result would hold each as a copy."""
    item = {"large": "x" * 1_000_000, "many": list(range(10_000))}
    patch = evaluate(
        "[JSONPatch{op: 'add', path: '/x', value: object.many.map(n, object.large)}]", item
    )
    with pytest.raises(RequestEntityTooLarge):
        operations_of(patch)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("Object{}", {"a": "1"}),
        ("Object{data: {'b': '2'}}", {"a": "1", "b": "2"}),
        ("Object{data: Object.data{a: '9'}}", {"a": "9"}),
    ],
)
def test_an_apply_configuration_is_merged(text: str, data: dict[str, str]) -> None:
    item = config_map()
    merged = applied(CONFIG_MAP, item, evaluate(text))
    assert merged == {**config_map(), "data": data}
    assert item == config_map()


def test_lists_are_merged_by_their_keys() -> None:
    text = (
        "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c',"
        " env: [Object.spec.containers.env{name: 'B', value: '2'}]}]}}"
    )
    merged = applied(POD, pod(), evaluate(text))
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert merged["spec"]["containers"] == [{"name": "c", "image": "i", "env": env}]


def test_elements_that_the_object_lacks_are_added() -> None:
    text = "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 's'}]}}"
    merged = applied(POD, pod(), evaluate(text))
    assert merged["spec"]["initContainers"] == [{"name": "s"}]
    assert merged["spec"]["containers"] == pod()["spec"]["containers"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Object{zzz: 'x'}",
            PREFIX
            + "failed to convert patch object to typed object: .zzz: field not declared in schema",
        ),
        (
            "Object{yyy: 'x', zzz: 'x'}",
            (
                PREFIX + "failed to convert patch object to typed object: errors:\n"
                "  .yyy: field not declared in schema\n  .zzz: field not declared in schema"
            ),
        ),
        (
            "Object{spec: Object.spec{tolerations: [Object.spec.tolerations{key: 'k'}]}}",
            (
                PREFIX
                + "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
                ".spec.tolerations"
            ),
        ),
        (
            (
                "Object{spec: Object.spec{nodeSelector: {'a': 'b'}, containers: "
                "[Object.spec.containers{name: 'c', args: ['x']}]}}"
            ),
            (
                PREFIX
                + "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
                ".spec.nodeSelector, .spec.containers[0].args"
            ),
        ),
        (
            "Object{spec: Object.wrong{}}",
            (
                'type mismatch: unexpected type name "Object.wrong", expected "Object.spec", '
                "which matches field name path from root Object type"
            ),
        ),
        ("Object{spec: duration('1s')}", "unsupported type google.protobuf.Duration"),
    ],
)
def test_a_configuration_that_cannot_be_applied_says_why(text: str, message: str) -> None:
    with pytest.raises(PatchFailed) as failed:
        applied(POD, pod(), evaluate(text))
    assert str(failed.value) == message


def test_a_configuration_keeps_the_objects_identity() -> None:
    merged = applied(CONFIG_MAP, config_map(), evaluate("Object{kind: 'Secret', apiVersion: 'v2'}"))
    assert (merged["apiVersion"], merged["kind"]) == ("v1", "ConfigMap")


def test_an_object_whose_elements_have_no_keys_is_refused() -> None:
    item = {"spec": {"containers": [{"image": "i"}]}}
    text = "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c'}]}}"
    with pytest.raises(PatchFailed, match="failed to convert original object to typed object"):
        applied(POD, item, evaluate(text))


SHARED = "[1]" + ".map(x, [x, x])" * 60  # 2 to the power of 60 values, most of them the same


@pytest.mark.parametrize("text", [SHARED, f"Object.data{{a: {SHARED}}}"])
def test_a_value_that_shares_its_parts_is_refused_before_it_is_walked_through(text: str) -> None:
    patch = evaluate(f"[JSONPatch{{op: 'add', path: '/data', value: {text}}}]")
    with pytest.raises(RequestEntityTooLarge):
        json_patched(config_map(), patch)
    with pytest.raises(RequestEntityTooLarge):
        applied(CONFIG_MAP, config_map(), evaluate(f"Object{{data: {SHARED}}}"))


def test_nesting_ends_in_a_failure() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(PatchFailed, match="exceeded max depth"):
        applied(CONFIG_MAP, config_map(), evaluate("Object{data: object}", deep))
    patch = evaluate("[JSONPatch{op: 'add', path: '/data', value: object}]", deep)
    with pytest.raises(PatchFailed):
        operations_of(patch)
