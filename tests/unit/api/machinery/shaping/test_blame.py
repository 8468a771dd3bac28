"""What is said of an object that breaks its schema: causes, their words, order and paths."""

from collections.abc import Sequence
from typing import Any

import pytest

from kubelite.api.errors import Cause
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.shaping.custom import CustomShape
from kubelite.limits import ALTERNATIVES

JSON = dict[str, Any]
GVK = GroupVersionKind("example.com", "v1", "Boat")
TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
NOWHERE = "<nil>"


def record(**properties: JSON) -> JSON:
    return {"type": "object", "properties": properties}


def found(schema: JSON, value: Any, *old: Any) -> list[tuple[str, str]]:
    """Return path and message of the causes of a spec."""
    shape = CustomShape(record(spec=schema), GVK)
    causes = shape.causes({"spec": value}, {"spec": old[0]} if old else None)
    return [(cause.path, cause.message) for cause in causes]


def one(schema: JSON, value: Any) -> str:
    """Return the message of the only cause of a spec."""
    ((path, message),) = found(schema, value)
    assert path in ("spec", NOWHERE)
    return message


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        (WHOLE, "x", 'Invalid value: "string": spec in body must be of type integer: "string"'),
        (TEXT, 5, 'Invalid value: "integer": spec in body must be of type string: "integer"'),
        (TEXT, None, 'Invalid value: "null": spec in body must be of type string: "null"'),
        (record(), [], 'Invalid value: "array": spec in body must be of type object: "array"'),
        (
            {"x-kubernetes-int-or-string": True},
            True,
            'Invalid value: "boolean": spec in body must be of type integer,string: "boolean"',
        ),
        (
            {"type": "integer", "format": "int64"},
            2.0**63,
            None,
        ),
        (
            {"type": "string", "format": "date"},
            "today",
            'Invalid value: "today": spec in body must be of type date: "today"',
        ),
        ({"type": "string", "format": "date"}, 5,
         'Invalid value: "int64": spec in body must be of type date: "int64"'),
        ({"type": "string", "format": "unheard-of"}, "x", ""),
        ({**TEXT, "minLength": 2}, "é",
         'Invalid value: "é": spec in body should be at least 2 chars long'),
        ({**TEXT, "maxLength": 2}, "😀😀", ""),
        ({**TEXT, "maxLength": 2}, "abc", "Too long: may not be more than 2 bytes"),
        ({**TEXT, "pattern": "^[a-c]+$"}, "xyz",
         "Invalid value: \"xyz\": spec in body should match '^[a-c]+$'"),
        ({**TEXT, "enum": ["a", "b"]}, "c",
         'Unsupported value: "c": supported values: "a", "b"'),
        ({**WHOLE, "enum": [1, 2]}, 3, 'Unsupported value: 3: supported values: "1", "2"'),
        ({"x-kubernetes-preserve-unknown-fields": True, "enum": [{"a": 1}, [True]]}, {"a": 2},
         'Unsupported value: {"a":2}: supported values: "{\\"a\\":1}", "[true]"'),
        ({"x-kubernetes-preserve-unknown-fields": True, "enum": [{"a": 1}, [True]]}, [True], ""),
        ({**WHOLE, "minimum": 3}, 2,
         "Invalid value: 2: spec in body should be greater than or equal to 3"),
        ({**WHOLE, "minimum": 3, "exclusiveMinimum": True}, 3,
         "Invalid value: 3: spec in body should be greater than 3"),
        ({**NUMBER, "maximum": 2.5}, 2.75,
         "Invalid value: 2.75: spec in body should be less than or equal to 2.5"),
        ({**NUMBER, "maximum": 10, "exclusiveMaximum": True}, 10,
         "Invalid value: 10: spec in body should be less than 10"),
        ({**WHOLE, "multipleOf": 3}, 4, "Invalid value: 4: spec in body should be a multiple of 3"),
        ({**NUMBER, "multipleOf": 2.5}, 4, ""),  # as Kubernetes: a bound of an integer loses its fraction
        ({**NUMBER, "multipleOf": 0.1}, 0.25,
         "Invalid value: 0.25: spec in body should be a multiple of 0.1"),
        ({"type": "array", "items": TEXT, "minItems": 2}, ["a"],
         "Invalid value: 1: spec in body should have at least 2 items"),
        ({"type": "array", "items": TEXT, "maxItems": 1}, ["a", "b"],
         "Too many: 2: must have at most 1 item"),
        ({"type": "array", "items": WHOLE, "uniqueItems": True}, [1, 2, 1],
         'Invalid value: "": spec in body shouldn\'t contain duplicates'),
        ({"type": "array", "uniqueItems": True}, [1, True, 1.5, "1"], ""),
        ({"type": "object", "additionalProperties": TEXT, "minProperties": 2}, {"a": "1"},
         "Invalid value: 1: spec in body should have at least 2 properties"),
        ({"type": "object", "additionalProperties": TEXT, "maxProperties": 1}, {"a": "", "b": ""},
         "Too many: 2: must have at most 1 item"),
        ({**TEXT, "not": {"enum": ["x"]}}, "x",
         'Invalid value: "": "spec" must not validate the schema (not)'),
        ({**TEXT, "nullable": True}, None, ""),
        # Null is no value of an enum, whatever the schema says.
        ({**TEXT, "nullable": True, "enum": ["a", None]}, None,
         'Unsupported value: null: supported values: "a", "null"'),
        ({"type": "integer", "format": "int32"}, 2**31,
         'Invalid value: "": Checked value must be of type integer with format int32 in spec'),
        ({"type": "number", "format": "float"}, 1e300,
         'Invalid value: "": Checked value must be of type number with format float in spec'),
    ],
)  # fmt: skip
def test_single_findings(schema: JSON, value: Any, message: str | None) -> None:
    if message is None:
        assert len(found(schema, value)) == 2
    elif message:
        assert one(schema, value) == message
    else:
        assert found(schema, value) == []


def test_a_fraction_is_no_integer_in_two_ways() -> None:
    assert found(WHOLE, 5.5) == [
        ("spec", 'Invalid value: "number": spec in body must be of type integer: "number"'),
        (
            NOWHERE,
            'Invalid value: "": Checked value must be of type integer (default format) in spec',
        ),
    ]


def test_all_causes_are_found_with_their_paths() -> None:
    schema = record(
        list={"type": "array", "items": record(a=WHOLE)},
        map={"type": "object", "additionalProperties": {**WHOLE, "maximum": 5}},
        needed={**record(a=TEXT, b=TEXT), "required": ["a", "b"]},
    )
    value = {"list": [{"a": 1}, {"a": "x"}, "y"], "map": {"k.x": 6}, "needed": {}}
    assert [path for path, _ in found(schema, value)] == [
        "spec.list[1].a",
        "spec.list[2]",
        "spec.map.k.x",
        "spec.needed.a",
        "spec.needed.b",
    ]


ONE_OF = 'Invalid value: "": "spec" must validate one and only one schema (oneOf). '
CHOICE = [{"required": ["a"]}, {"required": ["b"]}]


@pytest.mark.parametrize(
    ("junctor", "value", "causes"),
    [
        ("anyOf", {"b": ""}, []),
        ("anyOf", {"a": "", "b": ""}, []),
        ("anyOf", {}, [
            (NOWHERE, 'Invalid value: "": "spec" must validate at least one schema (anyOf)'),
            ("spec.a", "Required value"),
        ]),
        ("oneOf", {"a": ""}, []),
        ("oneOf", {}, [
            (NOWHERE, ONE_OF + "Found none valid"),
            ("spec.a", "Required value"),
        ]),
        ("oneOf", {"a": "", "b": ""}, [
            (NOWHERE, ONE_OF + "Found 2 valid alternatives"),
        ]),
        ("allOf", {"a": "", "b": ""}, []),
        ("allOf", {"a": ""}, [
            ("spec.b", "Required value"),
            (NOWHERE, 'Invalid value: "": "spec" must validate all the schemas (allOf)'),
        ]),
        ("allOf", {}, [
            ("spec.a", "Required value"),
            ("spec.b", "Required value"),
            (NOWHERE, 'Invalid value: "": "spec" must validate all the schemas (allOf). None validated'),
        ]),
    ],
)  # fmt: skip
def test_alternatives(junctor: str, value: JSON, causes: list[tuple[str, str]]) -> None:
    assert found({**record(a=TEXT, b=TEXT), junctor: CHOICE}, value) == causes


def test_the_alternative_is_explained_of_which_most_checks_pass() -> None:
    first = {"properties": {"a": {"enum": ["x"]}}}
    second = {"properties": {"a": {"enum": ["y"]}, "b": {"minLength": 1}, "c": {"minLength": 1}}}
    schema = {**record(a=TEXT, b=TEXT, c=TEXT), "oneOf": [first, second]}
    causes = found(schema, {"a": "z", "b": "1", "c": "1"})
    assert causes[1] == ("spec.a", 'Unsupported value: "z": supported values: "y"')


LISTED = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"],
    "items": {**record(k=TEXT, v={**TEXT, "maxLength": 3}), "required": ["k"]},
}


@pytest.mark.parametrize(
    ("schema", "value", "causes"),
    [
        ({"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}, ["a", "b", "a", "a"],
         [("spec[2]", 'Duplicate value: "a"')]),
        (LISTED, [{"k": "a"}, {"k": "a", "v": "x"}], [("spec[1]", 'Duplicate value: {"k":"a"}')]),
        (LISTED, [{"k": "a"}, {}, {}],
         [("spec[1].k", "Required value"), ("spec[2].k", "Required value"),
          ("spec[2]", "Duplicate value: {}")]),
        (LISTED, ["a"],
         [("spec[0]", 'Invalid value: "string": spec[0] in body must be of type object: "string"'),
          ("spec[0]", 'Invalid value: "a": must be an object for an array of list-type map')]),
    ],
)  # fmt: skip
def test_lists_of_unique_elements(schema: JSON, value: Any, causes: list[tuple[str, str]]) -> None:
    assert found(schema, value) == causes


@pytest.mark.parametrize(
    ("schema", "old", "new", "paths"),
    [
        (record(a={**TEXT, "pattern": "^x"}, b=TEXT), {"a": "y"}, {"a": "y", "b": "z"}, []),
        (record(a={**TEXT, "pattern": "^x"}), {"a": "y"}, {"a": "z"}, ["spec.a"]),
        (record(a={**TEXT, "pattern": "^x"}), {}, {"a": "z"}, ["spec.a"]),
        (record(a=WHOLE), {"a": True}, {"a": 1}, []),
        (record(a=TEXT), {"a": 1}, {"a": True}, ["spec.a"]),
        # An element of a list is not compared, but the whole list is.
        (record(l={"type": "array", "items": WHOLE}), {"l": ["x"]}, {"l": ["x"]}, []),
        (record(l={"type": "array", "items": WHOLE}), {"l": ["x"]}, {"l": ["x", 1]}, ["spec.l[0]"]),
        # In a list of type map, elements are compared by their keys.
        (record(l=LISTED), {"l": [{"k": "a", "v": "long"}]},
         {"l": [{"k": "b"}, {"k": "a", "v": "long"}]}, []),
        (record(l=LISTED), {"l": [{"k": "a", "v": "long"}]},
         {"l": [{"k": "b", "v": "long"}]}, ["spec.l[0].v"]),
        # Lists that held duplicates may go on to hold them.
        (record(l=LISTED), {"l": [{"k": "a"}, {"k": "a"}]}, {"l": [{"k": "b"}, {"k": "b"}]}, []),
        (record(l=LISTED), {"l": [{"k": "a"}]}, {"l": [{"k": "b"}, {"k": "b"}]}, ["spec.l[1]"]),
        # What has no schema is not compared, so the object around it has changed.
        ({**record(), "x-kubernetes-preserve-unknown-fields": True, "maxProperties": 0},
         {"a": 1}, {"a": 1}, ["spec"]),
        ({"type": "object", "additionalProperties": TEXT, "maxProperties": 0},
         {"a": "x"}, {"a": "x"}, []),
        ({**record(a=record(b=WHOLE)), "anyOf": [{"properties": {"a": {"required": ["c"]}}}]},
         {"a": {"b": 1}}, {"a": {"b": 1}}, []),
    ],
)  # fmt: skip
def test_what_did_not_change_is_not_blamed(
    schema: JSON, old: Any, new: Any, paths: list[str]
) -> None:
    assert [path for path, _ in found(schema, new, old)] == paths


def test_embedded_resources_need_a_type_and_good_metadata() -> None:
    pod = {**record(), "x-kubernetes-embedded-resource": True}

    def rules(value: JSON) -> Sequence[Cause]:
        assert value["metadata"]["name"]
        wrong = "labels" in value["metadata"]
        return (Cause("metadata.labels", "FieldValueInvalid", "bad"),) if wrong else ()

    shape = CustomShape(record(pods={"type": "array", "items": pod}), GVK, metadata_rules=rules)
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {}},
        {},
        {"apiVersion": "a/b/c", "kind": "Bad Kind"},
        {"apiVersion": "", "kind": ""},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {}}},
    ]
    causes = shape.causes({"pods": pods}, {"pods": pods})  # unchanged, but blamed all the same
    assert [(cause.path, cause.message[:49]) for cause in causes] == [
        ("pods[1].apiVersion", "Required value"),
        ("pods[1].kind", "Required value"),
        ("pods[2].apiVersion", 'Invalid value: "a/b/c": unexpected GroupVersion st'[:49]),
        ("pods[2].kind", 'Invalid value: "Bad Kind": may have mixed case, bu'[:49]),
        ("pods[3].apiVersion", 'Invalid value: "": must not be empty'),
        ("pods[3].kind", 'Invalid value: "": must not be empty'),
        ("pods[4].metadata.labels", "bad"),
    ]


def test_rules_are_not_evaluated_on_an_object_that_misleads_them() -> None:
    rules = {"x-kubernetes-validations": [{"rule": "self.a > 1"}]}
    schema = record(a=WHOLE, b={**TEXT, "minLength": 5}, c={**record(), **rules})
    assert [path for path, _ in found(schema, {"a": "x"})] == ["spec.a", NOWHERE]
    assert [path for path, _ in found(schema, {"b": "x"})] == ["spec.b"]


def test_the_causes_of_one_answer_are_bounded() -> None:
    causes = found({"type": "array", "items": WHOLE}, ["x"] * 5000)
    assert len(causes) == 501
    assert causes[-1][0] == NOWHERE
    assert causes[-1][1].startswith("Invalid value: null: some validation rules were not checked")


def test_too_many_alternatives_end_the_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ALTERNATIVES, "value", 1000)
    choices = [{"maxLength": n + 2} for n in range(50)]
    schema = {"type": "array", "items": {**TEXT, "oneOf": choices}}
    causes = found(schema, ["x"] * 500)
    assert [path for path, _ in causes] == [NOWHERE]


def test_a_long_enum_is_cut_in_its_message() -> None:
    schema = {**TEXT, "enum": [f"value-{n}" for n in range(5_000)]}
    assert len(one(schema, "x")) < 10_000


def test_nested_alternatives_take_no_more_than_their_number() -> None:
    node: JSON = {"minLength": 3}
    for _ in range(12):
        node = {"anyOf": [dict(node), dict(node)], "allOf": [{"maxLength": 1}]}
    assert found({**TEXT, **node}, "xx")


def test_a_status_is_validated_alone() -> None:
    status = {**record(phase={**TEXT, "enum": ["Up"]}, n=WHOLE), "required": ["n"]}
    shape = CustomShape(record(spec=record(a=WHOLE), status=status), GVK)

    def said(new: JSON, old: JSON) -> list[tuple[str, str]]:
        causes = shape.causes({"spec": {"a": "x"}, **new}, {"spec": {"a": "x"}, **old}, "status")
        return [(cause.path, cause.message) for cause in causes]

    assert said({"status": {"phase": "Down", "n": "x"}}, {}) == [
        ("status.phase", 'Unsupported value: "Down": supported values: "Up"'),
        ("status.n", 'Invalid value: "string": n in body must be of type integer: "string"'),
    ]
    assert said({"status": {}}, {}) == [("status.n", "Required value")]
    assert said({"status": 5}, {}) == [
        ("status", 'Invalid value: "integer":  in body must be of type object: "integer"')
    ]
    assert said({"status": {"phase": "Down", "n": 1}}, {"status": {"phase": "Down"}}) == []
    assert said({}, {"status": {"phase": "Down"}}) == []


def test_the_type_of_an_object_is_blamed_even_if_it_did_not_change() -> None:
    shape = CustomShape(record(kind={**TEXT, "enum": ["Ship"]}, a={**TEXT, "maxLength": 1}), GVK)
    item = {"kind": "Boat", "metadata": {"name": "b"}, "a": "long"}
    assert [cause.path for cause in shape.causes(item, dict(item))] == ["kind"]
    assert [cause.path for cause in shape.causes(item, None)] == ["kind", "a"]
