"""The Schema tree of a custom resource: what server-side apply and patches see of it."""

from typing import Any

import pytest

from kubelite.api.errors import Conflict, PlainError
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.apply import apply
from kubelite.api.machinery.field_sets import applied, paths
from kubelite.api.machinery.managed_fields import Writer
from kubelite.api.machinery.schema import Schema
from kubelite.api.machinery.shaping.compile_openapi import compile_openapi

JSON = dict[str, Any]
GVK = GroupVersionKind("boats.example.com", "v1", "Boat")
TEXT = {"type": "string"}
PRESERVE = "x-kubernetes-preserve-unknown-fields"
TIME = "2026-01-01T00:00:00Z"


def record(**properties: JSON) -> JSON:
    return {"type": "object", "properties": properties}


def compiled(spec: JSON, **options: Any) -> Schema:
    return compile_openapi(record(spec=spec), GVK, **options)


SPEC = record(
    text=TEXT,
    atomic={"type": "array", "items": record(a=TEXT)},
    set={"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
    ports={
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"],
        "items": record(port={"type": "integer"}, protocol={**TEXT, "default": "TCP"}, note=TEXT),
    },
    labels={"type": "object", "additionalProperties": TEXT},
    whole={**record(a=TEXT, b=TEXT), "x-kubernetes-map-type": "atomic"},
    free={"type": "object", PRESERVE: True},
    any={PRESERVE: True},
    open={"type": "object"},
    half={**record(known=record(a=TEXT)), PRESERVE: True},
    size={"x-kubernetes-int-or-string": True},
)


@pytest.mark.parametrize(
    ("spec", "owned"),
    [
        ({"text": "x"}, [".spec.text"]),
        ({"atomic": [{"a": "x"}]}, [".spec.atomic"]),
        ({"set": ["a", "b"]}, ['.spec.set[="a"]', '.spec.set[="b"]']),
        (
            {"ports": [{"port": 1, "note": "n"}]},
            [
                '.spec.ports[port=1,protocol="TCP"]',
                '.spec.ports[port=1,protocol="TCP"].note',
                '.spec.ports[port=1,protocol="TCP"].port',
            ],
        ),
        ({"labels": {"a": "x"}}, [".spec.labels.a"]),
        ({"whole": {"a": "x"}}, [".spec.whole"]),
        # What has no schema has a deduced type: objects are granular, lists atomic.
        ({"free": {"a": {"b": 1}}}, [".spec.free.a", ".spec.free.a.b"]),
        ({"free": {"a": [{"b": 1}]}}, [".spec.free.a"]),
        ({"any": {"a": 1}}, [".spec.any.a"]),
        ({"any": [1]}, [".spec.any"]),
        ({"open": {"a": 1}}, [".spec.open.a"]),
        ({"half": {"known": {"a": "x"}, "z": {"y": 1}}},
         [".spec.half.known.a", ".spec.half.z", ".spec.half.z.y"]),
        ({"size": "5%"}, [".spec.size"]),
    ],
)  # fmt: skip
def test_what_an_applier_owns(spec: JSON, owned: list[str]) -> None:
    fields = applied({"spec": spec}, compiled(SPEC))
    assert fields is not None
    assert list(paths(fields)) == owned


def writer(manager: str) -> Writer:
    return Writer(manager, "boats.example.com/v1", TIME)


def config(spec: JSON) -> JSON:
    return {
        "apiVersion": "boats.example.com/v1",
        "kind": "Boat",
        "metadata": {"name": "b", "namespace": "n"},
        "spec": spec,
    }


def test_appliers_share_lists_by_their_keys() -> None:
    schema = compiled(SPEC)
    first = apply(schema, None, config({"ports": [{"port": 1, "note": "a"}]}), writer("one"))
    both = apply(schema, first, config({"ports": [{"port": 2, "note": "b"}]}), writer("two"))
    assert [port["port"] for port in both["spec"]["ports"]] == [1, 2]
    gone = apply(schema, both, config({"ports": []}), writer("one"))
    assert [port["port"] for port in gone["spec"]["ports"]] == [2]


def test_an_atomic_list_belongs_to_one() -> None:
    schema = compiled(SPEC)
    first = apply(schema, None, config({"atomic": [{"a": "x"}]}), writer("one"))
    with pytest.raises(Conflict) as conflict:
        apply(schema, first, config({"atomic": [{"a": "y"}]}), writer("two"))
    assert [cause.path for cause in conflict.value.causes] == [".spec.atomic"]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"other": 1}, ".spec.other: field not declared in schema"),
        ({"text": 1}, ".spec.text: expected string, got &value.valueUnstructured{Value:1}"),
        ({"set": {"a": 1}}, ".spec.set: expected list, got &{map[a:...]}"),
        ({"half": {"z": {"y": 1}}}, ""),
        ({"half": {"known": {"z": 1}}}, ""),  # so is all below a node that keeps unknown fields
        ({"open": {"a": {"b": 1}}}, ""),
    ],
)
def test_a_configuration_is_checked_against_the_schema(spec: JSON, problem: str) -> None:
    if not problem:
        apply(compiled(SPEC), None, config(spec), writer("one"))
        return
    with pytest.raises(PlainError) as refusal:
        apply(compiled(SPEC), None, config(spec), writer("one"))
    assert problem in refusal.value.message


def test_everything_is_allowed_where_unknown_fields_are_preserved() -> None:
    schema = compiled(record(a=TEXT), preserve_unknown=True)
    made = apply(schema, None, config({"b": {"c": 1}}), writer("one"))
    assert made["spec"] == {"b": {"c": 1}}


def test_the_root_and_embedded_resources_have_the_fields_of_every_object() -> None:
    pod = {**record(spec=record(a=TEXT)), "x-kubernetes-embedded-resource": True}
    schema = compiled(record(pod=pod))
    for path in ("metadata.labels[a]", "apiVersion", "spec.pod.metadata.name", "spec.pod.kind"):
        node = schema.at(path)
        assert node is not None
        assert node.type == "string", path
    assert schema.gvk == GVK
    assert schema.definition == "com.example.boats.v1.Boat"
    assert set(schema.fields) == {"spec", "apiVersion", "kind", "metadata"}
    assert len(schema.fields) == 4


def test_notes_of_fields() -> None:
    schema = compiled(
        record(
            a={**TEXT, "default": "x", "nullable": True},
            b={"type": "string", "format": "date"},
            c={**record(d=TEXT), "required": ["d"]},
        )
    )
    spec = schema.fields["spec"]
    assert (spec.fields["a"].fresh_default(), spec.fields["a"].nullable) == ("x", True)
    assert spec.fields["b"].format == "date"
    assert spec.fields["c"].required == ("d",)
    with pytest.raises(KeyError):
        spec.fields["z"]


def test_fields_are_compiled_when_they_are_looked_up_and_plain_ones_are_shared() -> None:
    schema = compiled(record(a=TEXT, b=TEXT, c={"type": "array", "items": TEXT}))
    spec = schema.fields["spec"]
    assert spec.fields["a"] is spec.fields["b"] is spec.fields["c"].items
    assert schema.fields["spec"] is spec
