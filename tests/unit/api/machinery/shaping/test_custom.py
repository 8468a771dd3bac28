"""The form of custom resources: what a client's object becomes."""

from copy import deepcopy
from threading import Event, Thread
from typing import Any

import pytest

from kubelite.api.errors import BadRequest, RequestEntityTooLarge
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.shaping.custom import CustomShape

JSON = dict[str, Any]
GVK = GroupVersionKind("example.com", "v1", "Boat")
TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
PRESERVE, EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"

NO_METADATA = "json: cannot unmarshal string into Go value of type v1.ObjectMeta"


def record(**properties: JSON) -> JSON:
    return {"type": "object", "properties": properties}


def shape_of(spec: JSON, **options: Any) -> CustomShape:
    return CustomShape(record(spec=spec), GVK, **options)


def received(spec_schema: JSON, spec: Any) -> tuple[Any, tuple[str, ...]]:
    """Return the spec as it is received, and the paths of the dropped fields."""
    body = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": spec}
    unknown = shape_of(spec_schema).receive(body)
    return body.get("spec", "absent"), unknown


@pytest.mark.parametrize(
    ("schema", "spec", "kept", "unknown"),
    [
        (record(a=TEXT), {"a": "", "b": 1}, {"a": ""}, ("spec.b",)),
        (record(a=WHOLE, b={"type": "boolean"}), {"a": 0, "b": False}, {"a": 0, "b": False}, ()),
        (record(a=record(b=TEXT)), {"a": {"c": {"d": 1}}}, {"a": {}}, ("spec.a.c",)),
        # A list is pruned by its items; a value of another type loses what its schema does not know.
        (
            record(a={"type": "array", "items": record(b=TEXT)}),
            {"a": [{"b": "x"}, {"c": 1}]},
            {"a": [{"b": "x"}, {}]},
            ("spec.a[1].c",),
        ),
        (record(a=TEXT), {"a": {"b": 1}}, {"a": {}}, ("spec.a.b",)),
        (record(a=record(b=TEXT)), {"a": [{"b": "x"}]}, {"a": [{}]}, ("spec.a[0].b",)),
        # Maps keep all their keys.
        (
            record(a={"type": "object", "additionalProperties": record(b=TEXT)}),
            {"a": {"x": {"b": "1", "c": 2}}},
            {"a": {"x": {"b": "1"}}},
            ("spec.a.x.c",),
        ),
        (
            record(a={"type": "object", "additionalProperties": True}),
            {"a": {"x": {"y": 1}, "z": 1}},
            {"a": {"x": {}, "z": 1}},
            ("spec.a.x.y",),
        ),
        # What is preserved is kept, and pruned again below a field that has a schema.
        (
            record(a={**record(b=record(c=TEXT)), PRESERVE: True}),
            {"a": {"x": {"y": None}, "b": {"z": 1}}},
            {"a": {"x": {"y": None}, "b": {}}},
            ("spec.a.b.z",),
        ),
        ({PRESERVE: True}, ["any", {"thing": None}], ["any", {"thing": None}], ()),
        (
            {"type": "array", PRESERVE: True, "items": record(a=record(b=TEXT))},
            [{"z": 1, "a": {"y": 2}}],
            [{"z": 1, "a": {}}],
            ("[0].a.y",),
        ),
    ],
)
def test_fields_without_a_schema_are_dropped_and_named(
    schema: JSON, spec: Any, kept: Any, unknown: tuple[str, ...]
) -> None:
    named = tuple(f"spec{path}" if path.startswith("[") else path for path in unknown)
    assert received(schema, spec) == (kept, named)


@pytest.mark.parametrize(
    ("schema", "spec", "kept"),
    [
        (record(a=TEXT), {"a": None}, {}),
        (record(a={**TEXT, "nullable": True}), {"a": None}, {"a": None}),
        (record(a={**TEXT, "default": "x"}), {"a": None}, {"a": "x"}),
        (record(a={**TEXT, "default": "x", "nullable": True}), {"a": None}, {"a": None}),
        (record(a={**TEXT, "default": None}), {}, {}),
        (
            record(a={"type": "object", "additionalProperties": TEXT}),
            {"a": {"x": None, "y": "z"}},
            {"a": {"y": "z"}},
        ),
        # Null stays an element of a list, where no key could go with it, unless there is a default.
        (record(a={"type": "array", "items": TEXT}), {"a": ["x", None]}, {"a": ["x", None]}),
        (
            record(a={"type": "array", "items": {**TEXT, "default": "d"}}),
            {"a": [None]},
            {"a": ["d"]},
        ),
    ],
)
def test_null_is_dropped_where_it_is_no_value(schema: JSON, spec: Any, kept: Any) -> None:
    assert received(schema, spec) == (kept, ())


def test_null_for_the_whole_is_as_if_it_were_absent() -> None:
    assert received(record(a=TEXT), None) == ("absent", ())


@pytest.mark.parametrize(
    ("schema", "spec", "kept"),
    [
        (record(a={**WHOLE, "default": 7}), {}, {"a": 7}),
        (record(a={**WHOLE, "default": 7}), {"a": 0}, {"a": 0}),
        (record(a={**record(b={**TEXT, "default": "x"}), "default": {}}), {}, {"a": {"b": "x"}}),
        (record(a=record(b={**TEXT, "default": "x"})), {}, {}),
        (record(a=record(b={**TEXT, "default": "x"})), {"a": {}}, {"a": {"b": "x"}}),
        (
            record(a={"type": "array", "items": record(b={**TEXT, "default": "x"})}),
            {"a": [{}, {"b": "y"}]},
            {"a": [{"b": "x"}, {"b": "y"}]},
        ),
        (
            record(
                a={
                    "type": "object",
                    "additionalProperties": record(b={**TEXT, "default": "x"}),
                }
            ),
            {"a": {"k": {}}},
            {"a": {"k": {"b": "x"}}},
        ),
        # A default is pruned as an object is.
        (record(a={**record(b=TEXT), "default": {"b": "x", "c": 1}}), {}, {"a": {"b": "x"}}),
    ],
)
def test_defaults_are_filled_in(schema: JSON, spec: Any, kept: Any) -> None:
    assert received(schema, spec) == (kept, ())


def test_each_object_gets_its_own_copy_of_a_default() -> None:
    shape = shape_of(record(a={**record(b=TEXT), "default": {"b": "x"}}))
    first: JSON = {"spec": {}}
    second: JSON = {"spec": {}}
    shape.receive(first)
    first["spec"]["a"]["b"] = "changed"
    shape.receive(second)
    assert second == {"spec": {"a": {"b": "x"}}}


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (1.0, 1),
        (-0.0, 0),
        (1.5, 1.5),
        (2**63 - 1, 2**63 - 1),
        (2**63, 9.223372036854775808e18),
        (1e300, 1e300),
    ],
)
def test_numbers_get_the_form_in_which_they_are_stored(given: float, stored: float) -> None:
    schema = record(a={"type": "number"}, b={PRESERVE: True}, c={"type": "array", "items": WHOLE})
    kept, _ = received(schema, {"a": given, "b": {"x": [given]}, "c": [given]})
    for number in (kept["a"], kept["b"]["x"][0], kept["c"][0]):
        assert (number, type(number)) == (stored, type(stored))


def test_a_number_out_of_all_range_is_refused() -> None:
    with pytest.raises(BadRequest, match="cannot be handled as a Boat"):
        received(record(a=WHOLE), {"a": 10**400})


def test_metadata_is_that_of_every_object() -> None:
    body = {
        "metadata": {"name": "b", "labels": {"a": None}, "zzz": 1, "ownerReferences": [{"y": 1}]}
    }
    assert shape_of(record()).receive(body) == ("metadata.zzz", "metadata.ownerReferences[0].y")
    assert body["metadata"]["labels"] == {"a": ""}


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ("x", NO_METADATA),
        (
            {"labels": {"a": 1}},
            "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string",
        ),
    ],
)
def test_malformed_metadata_is_refused(metadata: Any, problem: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        shape_of(record()).receive({"metadata": metadata})
    wanted = f'Boat in version "v1" cannot be handled as a Boat: {problem}'
    assert refusal.value.message == wanted


def test_embedded_resources_are_objects_of_their_own() -> None:
    schema = record(pod={**record(spec=record(a=TEXT)), EMBEDDED: True})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "zzz": 1, "generation": 4},
        "spec": {"a": "x", "b": 1},
        "status": {},
    }
    kept, unknown = received(schema, {"pod": pod})
    assert kept["pod"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "generation": 4},
        "spec": {"a": "x"},
    }
    assert unknown == ("spec.pod.spec.b", "spec.pod.status", "spec.pod.metadata.zzz")


@pytest.mark.parametrize(
    ("pod", "problem"),
    [
        ({"kind": 5}, "spec.pods[a].kind: Invalid value: 5: must be a string"),
        ({"apiVersion": None}, "spec.pods[a].apiVersion: Invalid value: null: must be a string"),
        (
            {"metadata": "x"},
            'spec.pods[a].metadata: Invalid value: "x": ' + NO_METADATA,
        ),
    ],
)
def test_a_malformed_embedded_resource_is_refused(pod: JSON, problem: str) -> None:
    inner = {"type": "object", EMBEDDED: True, PRESERVE: True}
    with pytest.raises(BadRequest) as refusal:
        received(
            record(pods={"type": "object", "additionalProperties": inner}), {"pods": {"a": pod}}
        )
    assert refusal.value.message.endswith(f"as a Boat: {problem}")


def test_without_pruning_everything_stays_but_defaults_are_filled_in() -> None:
    schema = record(a={**TEXT, "default": "x"}, b=TEXT)
    body = {"spec": {"b": None, "c": {"d": None}}, "e": 1}
    assert shape_of(schema, preserve_unknown=True).receive(body) == ()
    assert body == {"spec": {"a": "x", "b": None, "c": {"d": None}}, "e": 1}


def test_without_a_schema_anything_is_kept() -> None:
    shape = CustomShape(None, GVK)
    body = {"metadata": {"name": "b"}, "spec": {"x": [1.0, None]}}
    assert shape.receive(body) == ()
    assert body["spec"] == {"x": [1, None]}
    assert shape.causes(body, None) == ()


def test_an_object_that_the_server_changed_is_completed() -> None:
    item: JSON = {"spec": {"b": 1}}
    shape_of(record(a={**TEXT, "default": "x"})).complete(item)
    assert item == {"spec": {"a": "x"}}


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ({"a": "x"}, None),
        ({"a": "x", "n": None}, None),
        ({}, {"a": "d"}),
        ({"a": "x", "old": 1}, {"a": "x"}),
        ({"a": "x", "b": None}, {"a": "x"}),
        ({"a": "x", "pod": {"kind": 5, "metadata": {"name": 1, "labels": {"k": "v"}}}},
         {"a": "x", "pod": {"metadata": {"labels": {"k": "v"}}}}),
    ],
)  # fmt: skip
def test_a_stored_object_gets_the_present_form(stored: JSON, read: JSON | None) -> None:
    schema = record(
        a={**TEXT, "default": "d"},
        b=TEXT,
        n={**TEXT, "nullable": True},
        pod={"type": "object", EMBEDDED: True},
    )
    item = {"metadata": {"name": "b"}, "spec": deepcopy(stored)}
    assert shape_of(schema).reshape(item) is (read is not None)
    assert item["spec"] == (stored if read is None else read)


def test_the_schema_is_loaded_at_its_first_use_only() -> None:
    loads = []

    def load() -> JSON:
        loads.append(1)
        return record(spec=record(a=TEXT))

    shape = CustomShape(load, GVK)
    assert not loads
    first = shape.cost(100)
    shape.receive({"spec": {}})
    shape.causes({"spec": {}}, None)
    assert shape.schema.at("spec.a") is not None
    assert loads == [1]
    assert shape.cost(100) < first


def test_alternatives_make_the_work_dear() -> None:
    plain = shape_of(record(a=TEXT))
    chosen = shape_of(record(a={**TEXT, "anyOf": [{"minLength": n} for n in range(50)]}))
    plain.receive({"spec": {}})
    chosen.receive({"spec": {}})
    assert chosen.cost(1000) > 20 * plain.cost(1000)


def test_defaults_of_many_elements_are_bounded() -> None:
    schema = {"type": "array", "items": record(a={**TEXT, "default": "x" * 1000})}
    with pytest.raises(RequestEntityTooLarge):
        received(schema, [{} for _ in range(50_000)])


def test_an_object_that_is_too_deep_is_refused() -> None:
    nested: Any = "x"
    node: JSON = {"type": "object", "additionalProperties": TEXT}
    for _ in range(400):
        nested = {"a": nested}
        node = {"type": "object", "additionalProperties": node}
    with pytest.raises(BadRequest, match="exceeded max depth"):
        received(node, nested)


def test_only_so_many_unknown_fields_are_named() -> None:
    _, unknown = received(record(), {f"f{n}": 1 for n in range(3000)})
    assert len(unknown) == 1000


def test_a_converted_object_is_pruned_but_gets_no_defaults() -> None:
    schema = record(
        a={**TEXT, "default": "d"}, b=TEXT, l={"type": "array", "items": record(c=TEXT)}
    )
    item = {"spec": {"a": None, "b": None, "z": 1, "l": [{"y": 1}]}}
    assert shape_of(schema).prune(item)
    assert item == {"spec": {"a": None, "l": [{}]}}
    assert not shape_of(schema).prune(item)
    assert shape_of(schema).reshape(item)
    assert item == {"spec": {"a": "d", "l": [{}]}}


def test_threads_load_the_schema_once() -> None:
    entered, released = Event(), Event()
    loads = []

    def load() -> JSON:
        loads.append(1)
        entered.set()
        assert released.wait(10)
        return record(spec=record(a={**TEXT, "default": "x"}))

    shape = CustomShape(load, GVK)
    bodies: list[JSON] = [{"spec": {}}, {"spec": {}}]
    first, second = (Thread(target=shape.receive, args=(body,)) for body in bodies)
    first.start()
    assert entered.wait(10)
    second.start()
    released.set()
    first.join()
    second.join()
    assert loads == [1]
    assert bodies == [{"spec": {"a": "x"}}] * 2
