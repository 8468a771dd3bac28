"""Wording of causes."""

from kubelite.api.machinery import causes


def test_wording() -> None:
    assert causes.required("a").message == "Required value"
    assert causes.required("a", "why").message == "Required value: why"
    assert causes.invalid("a", 'x"y', "no").message == 'Invalid value: "x\\"y": no'
    assert causes.invalid("a", 5).message == "Invalid value: 5"
    assert causes.invalid("a", {"b": [True]}).message == 'Invalid value: {"b":[true]}'
    assert causes.unsupported("a", "x", ["A", "B"]).message == (
        'Unsupported value: "x": supported values: "A", "B"'
    )
    assert causes.duplicate("a", "x").message == 'Duplicate value: "x"'
    assert causes.too_long("a", 3).message == "Too long: may not be more than 3 bytes"
    assert causes.too_many("a", 5, 3).message == "Too many: 5: must have at most 3 items"


def test_invalid_object_tells_all() -> None:
    one = causes.invalid_object("Pod", "", "x", [causes.required("spec.containers")])
    assert one.message == 'Pod "x" is invalid: spec.containers: Required value'
    two = causes.invalid_object(
        "Deployment", "apps", "x", [causes.required("a"), causes.forbidden("b")]
    )
    assert two.message == 'Deployment.apps "x" is invalid: [a: Required value, b: Forbidden]'
    details = two.status()["details"]
    assert details["kind"] == "Deployment"
    assert details["group"] == "apps"
    assert details["causes"][0] == {
        "reason": "FieldValueRequired",
        "message": "Required value",
        "field": "a",
    }
