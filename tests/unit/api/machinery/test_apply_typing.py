"""What makes a configuration one of another type than its own."""

from typing import Any

import pytest

from kubelite.api.kinds.apiextensions import CustomResourceDefinition
from kubelite.api.kinds.apps import ControllerRevision, Deployment
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.apply_typing import find_mistyped, is_mistyped
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.limits import CAUSES, SHOWN_VALUE

POD, DEPLOYMENT, CONFIG, REVISION = (
    compile_struct(kind) for kind in (Pod, Deployment, ConfigMap, ControllerRevision)
)


def pod(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", **container}]}}


NO_KEY = (
    ".spec.containers: element 0: associative list with keys has an element that omits all key "
    'fields ["name"] (and doesn\'t have default values for any key fields)'
)
NULL = ".spec.containers: element 0: associative list with keys may not have a null element"
ENVIRONMENT = (
    '.spec.containers[name="c"].env[name="A"].value: expected string, got '
    "&value.valueUnstructured{Value:8080}"
)
NOT_A_TIME = ".metadata.creationTimestamp: expected any scalar, got &{map[]}"


@pytest.mark.parametrize(
    ("schema", "config", "expected"),
    [
        (POD, {"foo": 1}, ".foo: field not declared in schema"),
        (POD, pod(foo=1), '.spec.containers[name="c"].foo: field not declared in schema'),
        (
            POD,
            {"spec": {"containers": [{"name": "c"}, {"name": "c"}]}},
            '.spec.containers: duplicate entries for key [name="c"]',
        ),
        (POD, {"spec": {"containers": [{"image": "i"}]}}, NO_KEY),
        (POD, {"spec": {"containers": [None]}}, NULL),
        (POD, pod(env=[{"name": "A", "value": 8080}]), ENVIRONMENT),
        (
            DEPLOYMENT,
            {"spec": {"replicas": "3"}},
            ".spec.replicas: expected numeric (int or float), got string",
        ),
        (DEPLOYMENT, {"spec": {"paused": "yes"}}, ".spec.paused: expected boolean, got &{yes}"),
        (DEPLOYMENT, {"spec": []}, ".spec: expected map, got &{[]}"),
        (
            POD,
            {"spec": {"containers": {"a": 1}}},
            ".spec.containers: expected list, got &{map[a:...]}",
        ),
        (
            CONFIG,
            {"data": {"a": True}},
            ".data.a: expected string, got &value.valueUnstructured{Value:true}",
        ),
        (POD, {"metadata": {"creationTimestamp": {}}}, NOT_A_TIME),
    ],
)
def test_findings(schema: Schema, config: dict[str, Any], expected: str) -> None:
    assert find_mistyped(schema, config) == [expected]


@pytest.mark.parametrize(
    ("schema", "config"),
    [
        (CONFIG, {"data": {"a": None}, "immutable": None}),
        (POD, pod(livenessProbe={"httpGet": {"port": "http"}}, resources={"limits": {"cpu": 1}})),
        (REVISION, {"data": {"spec": {"any": [1]}}}),
        (POD, pod(ports=[{"name": "a"}])),  # without its number still told apart by its protocol
    ],
)
def test_what_is_of_more_types_than_one_passes(schema: Schema, config: dict[str, Any]) -> None:
    assert find_mistyped(schema, config) == []


def test_custom_resources_keep_what_their_schema_leaves_open() -> None:
    inner = Schema(type="object", fields={"a": Schema(type="string")})
    open_schema = Schema(type="object", preserve=True, fields={"spec": inner})
    assert find_mistyped(open_schema, {"spec": {"b": 1}, "c": 2}) == []
    closed = Schema(type="object", fields={"spec": inner, "free": Schema(type="object")})
    assert find_mistyped(closed, {"spec": {"b": 1}, "free": {"x": 1}}) == [
        ".spec.b: field not declared in schema"
    ]
    embedded = Schema(type="object", embedded=True, fields={"spec": inner})
    assert find_mistyped(embedded, {"kind": "X", "apiVersion": "v1", "metadata": {}}) == []


def test_loose_parts_of_definitions_may_be_anything() -> None:
    schema = {"openAPIV3Schema": {"properties": {"a": {"items": {"type": "string"}}}}}
    versions = [{"name": "v1", "schema": schema}]
    assert (
        find_mistyped(compile_struct(CustomResourceDefinition), {"spec": {"versions": versions}})
        == []
    )


def test_findings_are_bounded_in_number_and_length() -> None:
    found = find_mistyped(POD, {f"f{index}": 1 for index in range(10 * CAUSES.value)})
    assert len(found) == CAUSES.value + 1
    assert found[-1] == "and more"
    [line] = find_mistyped(DEPLOYMENT, {"spec": {"paused": "x" * 10**6}})
    assert len(line) < 2 * SHOWN_VALUE.value
    [line] = find_mistyped(DEPLOYMENT, {"spec": {"paused": 10**5000}})
    assert line.endswith("got &{...}")


def test_stored_elements_may_have_equal_keys() -> None:
    schema = compile_struct(Deployment)
    containers = [{"name": "a"}, {"name": "a"}]
    item = {"spec": {"template": {"spec": {"containers": containers}}}}
    assert find_mistyped(schema, item)
    assert not is_mistyped(schema, item)
    containers[1]["image"] = 1  # type: ignore[assignment] # of the wrong type on purpose
    assert is_mistyped(schema, item)
