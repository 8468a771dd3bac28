from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import pytest
from msgspec import UNSET

from kubelite.api.kinds.apiextensions import JSONSchemaProps
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.autoscaling_v1 import Scale
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.events_v1 import Event
from kubelite.api.kinds.model import ALWAYS, Int32, Kind, Model, default
from kubelite.api.machinery import schema as schema_module
from kubelite.api.machinery.schema import (
    Schema,
    compile_struct,
    field_path,
    key_path,
    steps,
)


def test_a_type_is_compiled_once() -> None:
    assert compile_struct(Pod) is compile_struct(Pod)


def test_no_thread_sees_a_tree_under_construction() -> None:
    class Fresh(Model):  # here, so that no other test has compiled it
        name: str = ""

    with ThreadPoolExecutor(1) as pool:
        with schema_module._LOCK:  # as the thread that compiles has it
            waiting = pool.submit(compile_struct, Fresh)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.01)
        assert waiting.result() is compile_struct(Fresh)


def test_a_type_may_contain_itself() -> None:
    props = compile_struct(JSONSchemaProps)
    nested = props.at("properties[spec].allOf[0].additionalProperties")
    assert nested is not None
    assert nested.fields is props.fields
    assert nested.loose


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("metadata.labels", "map"),
        ("metadata.labels[app.kubernetes.io/name]", "string"),
        ("metadata.creationTimestamp", "time"),
        ("spec.containers", "array"),
        ("spec.containers[0].ports[1].containerPort", "integer"),
        ("spec.containers[0].resources.limits[cpu]", "quantity"),
        ("spec.containers[0].livenessProbe.httpGet.port", "int-or-string"),
        ("spec.hostNetwork", "boolean"),
        ("spec.containers[0].resources", "object"),
    ],
)
def test_nodes_are_found_by_path(path: str, type_: str) -> None:
    node = compile_struct(Pod).at(path)
    assert node is not None
    assert node.type == type_


def test_an_unknown_path_has_no_node() -> None:
    assert compile_struct(Pod).at("spec.nothing.below") is None


def test_notes_become_facts_of_the_node() -> None:
    pod, deployment = compile_struct(Pod), compile_struct(Deployment)
    containers, ports = pod.fields["spec"].fields["containers"], pod.at("spec.containers[0].ports")
    assert (containers.list_type, containers.list_keys) == ("map", ("name",))
    assert containers.merge_key == "name"
    assert ports is not None
    assert ports.list_keys == ("containerPort", "protocol")
    assert deployment.fields["spec"].required == ("selector", "template")
    assert deployment.fields["spec"].fields["strategy"].retain_keys
    assert pod.fields["metadata"].fields["finalizers"].merge_key == "-"


def test_go_pointers_and_presence_are_known() -> None:
    spec = compile_struct(Deployment).fields["spec"]
    assert spec.fields["replicas"].pointer
    assert not spec.fields["replicas"].always
    assert spec.fields["strategy"].always
    assert not spec.fields["paused"].pointer


def test_definitions_carry_the_openapi_names() -> None:
    assert compile_struct(Pod).definition == "io.k8s.api.core.v1.Pod"
    assert compile_struct(Pod).fields["metadata"].definition == (
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    )
    assert compile_struct(Scale).definition == "io.k8s.api.autoscaling.v1.Scale"
    assert compile_struct(Event).definition == "io.k8s.api.events.v1.Event"
    assert compile_struct(Pod).name == "Pod"


class Box(Model):
    sizes: Annotated[list[Int32], default(lambda: [1])] = []
    count: Annotated[Int32, ALWAYS, default(7)] = 0
    label: str = ""


def test_defaults_are_fresh_values() -> None:
    fields = compile_struct(Box).fields
    assert fields["count"].fresh_default() == 7
    assert fields["sizes"].fresh_default() == [1]
    assert fields["sizes"].fresh_default() is not fields["sizes"].fresh_default()
    assert fields["label"].fresh_default() is UNSET
    assert fields["count"].always
    constant = Schema(type="array", default=[{"a": 1}])
    assert constant.fresh_default() == [{"a": 1}]
    assert constant.fresh_default()[0] is not constant.default[0]


def test_paths_are_spelt_as_kubernetes_does() -> None:
    assert field_path("", "spec") == "spec"
    assert field_path("spec", "replicas") == "spec.replicas"
    assert key_path("metadata.labels", "a.b/c") == "metadata.labels[a.b/c]"
    assert list(steps("spec.containers[0].name")) == [
        ("spec", False), ("containers", False), ("0", True), ("name", False),
    ]  # fmt: skip


def test_every_kind_compiles() -> None:
    kinds = Kind.__subclasses__()
    assert kinds
    assert all(compile_struct(kind).gvk == kind.gvk for kind in kinds)
