from copy import deepcopy
from typing import Any

import msgspec
import pytest
from complete_objects import samples

from kubelite.api.errors import BadRequest, RequestEntityTooLarge
from kubelite.api.kinds.apiextensions import CustomResourceDefinition
from kubelite.api.kinds.apps import Deployment, ReplicaSet
from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import WatchEvent
from kubelite.api.kinds.model import GroupVersionKind, Kind
from kubelite.api.kinds.rbac import Role
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.shaping.go import structure


def shaped(type_: type[Kind], body: dict[str, Any]) -> dict[str, Any]:
    assert structure(compile_struct(type_), body) == ()
    return body


def pod(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "a", **container}]}}


def test_fields_without_omitempty_appear() -> None:
    deployment = shaped(Deployment, {"spec": {"selector": {}, "template": {"spec": pod()["spec"]}}})
    assert deployment == {
        "metadata": {},
        "spec": {
            "selector": {},
            "strategy": {},
            "template": {
                "metadata": {},
                "spec": {"containers": [{"name": "a", "resources": {}}]},
            },
        },
        "status": {},
    }
    assert shaped(ReplicaSet, {})["status"] == {"replicas": 0}
    assert shaped(Role, {})["rules"] is None


def test_nulls_and_zero_values_go() -> None:
    body = {
        "metadata": {"labels": {}, "creationTimestamp": None, "generation": 0},
        "spec": {
            "containers": [{"name": "a", "command": [], "image": "", "tty": False}],
            "hostNetwork": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": None,
        },
    }
    assert shaped(Pod, body) == {
        "metadata": {},
        "spec": {
            "containers": [{"name": "a", "resources": {}}],
            "terminationGracePeriodSeconds": 0,
        },
        "status": {},
    }


def test_nulls_inside_lists_and_maps_become_zero_values() -> None:
    assert shaped(ConfigMap, {"data": {"a": None, "b": ""}})["data"] == {"a": "", "b": ""}
    assert shaped(Pod, {"spec": {"containers": [None]}})["spec"]["containers"] == [
        {"name": "", "resources": {}}
    ]


def test_quantities_and_dates_get_their_canonical_form() -> None:
    body = pod(resources={"limits": {"cpu": 0.5, "memory": "1024Mi", "pods": 3}})
    body["metadata"] = {"creationTimestamp": "2024-01-01T02:00:00+02:00"}
    assert shaped(Pod, body)["metadata"]["creationTimestamp"] == "2024-01-01T00:00:00Z"
    limits = body["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "500m", "memory": "1Gi", "pods": "3"}


def test_base64_loses_its_line_breaks() -> None:
    assert shaped(Secret, {"data": {"a": "YWJj\nZGVm", "b": ""}})["data"] == {
        "a": "YWJjZGVm",
        "b": "",
    }


def test_unknown_fields_are_dropped_and_named() -> None:
    body = pod(ports=[{"containerPort": 80, "prot": "TCP"}], resource={})
    body["spek"] = {}
    assert structure(compile_struct(Pod), body) == (
        "spec.containers[0].ports[0].prot",
        "spec.containers[0].resource",
        "spek",
    )
    assert body["spec"]["containers"] == [
        {"name": "a", "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {}}
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"spec": {"replicas": "3"}},
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"spec": {"replicas": 3.5}},
            "json: cannot unmarshal number 3.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"spec": {"replicas": 2**31}},
            (
                "json: cannot unmarshal number 2147483648 into Go struct field "
                "DeploymentSpec.spec.replicas of type int32"
            ),
        ),
        (
            {"spec": {"paused": 1}},
            "json: cannot unmarshal number into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
        (
            {"metadata": {"labels": {"a": 1}}},
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            {"metadata": {"labels": "a"}},
            (
                "json: cannot unmarshal string into Go struct field ObjectMeta.metadata.labels "
                "of type map[string]string"
            ),
        ),
        (
            {"spec": {"template": {"spec": {"containers": {}}}}},
            (
                "json: cannot unmarshal object into Go struct field "
                "PodSpec.spec.template.spec.containers of type []v1.Container"
            ),
        ),
        (
            {
                "spec": {
                    "template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}}
                }
            },
            (
                "quantities must match the regular expression "
                "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            ),
        ),
        (
            {"metadata": {"creationTimestamp": "x"}},
            'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
        ),
        ([], "json: cannot unmarshal array into Go value of type v1.Deployment"),
    ],
)
def test_wrong_types_are_refused_in_gos_words(body: Any, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        structure(compile_struct(Deployment), body)
    assert refused.value.message == (
        f'Deployment in version "v1" cannot be handled as a Deployment: {message}'
    )


def test_wrong_base64_is_refused() -> None:
    with pytest.raises(BadRequest, match="illegal base64 data at input byte 3"):
        structure(compile_struct(Secret), {"data": {"a": "abc!"}})


def test_schemas_in_schemas_keep_their_freedom() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "object", "additionalProperties": True}},
        "items": [{"type": "string"}],
        "enum": [None, 1],
    }
    body = {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": deepcopy(schema)}}]}}
    assert structure(compile_struct(CustomResourceDefinition), body) == ()
    assert body["spec"]["versions"][0]["schema"] == {"openAPIV3Schema": schema}


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample[0])
def test_complete_objects_pass_unchanged(sample: tuple[str, dict[str, Any], bytes]) -> None:
    _, before, _ = sample
    body = deepcopy(before)
    group, _, version = body.get("apiVersion", "").rpartition("/")
    gvk = GroupVersionKind(group, version, body.get("kind", "WatchEvent"))
    assert structure(compile_struct(kinds().get(gvk, WatchEvent)), body) == ()
    assert body == before


def test_what_is_filled_into_many_elements_is_charged() -> None:
    schema = compile_struct(Pod)
    with pytest.raises(RequestEntityTooLarge):
        structure(schema, {"spec": {"containers": [{} for _ in range(100_000)]}})
    parts = [{"name": "a", "volumeDevices": [{} for _ in range(100)]} for _ in range(2000)]
    with pytest.raises(RequestEntityTooLarge):
        structure(schema, {"spec": {"containers": parts}})
    structure(schema, {"spec": {"containers": [{} for _ in range(10_000)]}})


@pytest.mark.parametrize(
    "given", [{}, {"endpoints": None, "ports": None}, {"endpoints": [], "ports": []}]
)
def test_a_list_that_go_writes_when_it_is_nil_is_null(given: dict[str, Any]) -> None:
    slice_ = shaped(EndpointSlice, {"addressType": "IPv4", **given})
    assert slice_ == {
        "metadata": {},
        "addressType": "IPv4",
        "endpoints": None,
        "ports": None,
    }
    assert shaped(EndpointSlice, deepcopy(slice_)) == slice_


@pytest.mark.parametrize("given", [{}, {"conditions": None}])
def test_an_absent_list_of_a_kind_stored_as_json_is_null(given: dict[str, Any]) -> None:
    assert shaped(CustomResourceDefinition, {"status": given})["status"]["conditions"] is None


def test_an_empty_list_of_a_kind_stored_as_json_stays_empty() -> None:
    definition = shaped(CustomResourceDefinition, {"status": {"conditions": []}})
    assert definition["status"]["conditions"] == []


def test_readers_see_an_empty_list_in_place_of_null() -> None:
    body = b'{"endpoints":null,"ports":null,"addressType":"IPv4"}'
    assert msgspec.json.decode(body, type=EndpointSlice) == EndpointSlice(addressType="IPv4")
    role = msgspec.convert({"rules": None}, Role)
    assert role == Role()
    assert role.rules == []
