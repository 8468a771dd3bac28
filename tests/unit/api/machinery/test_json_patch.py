"""JSON patch as Kubernetes applies it."""

import copy
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.errors import APIError, BadRequest, Invalid, RequestEntityTooLarge
from kubelite.api.machinery.json_patch import _Patcher, json_patch, json_patch_cost, unknown_members
from kubelite.limits import PATCH_COPIES, PATCH_OPERATIONS, PATCH_WORK

JSON = dict[str, Any]


def test_json_patch() -> None:
    document = {"metadata": {"labels": {"a": "b"}}, "items": [1, 2]}
    operations = [
        {"op": "test", "path": "/metadata/labels/a", "value": "b"},
        {"op": "add", "path": "/metadata/labels/x~1y", "value": "c"},
        {"op": "add", "path": "/items/-", "value": 3},
        {"op": "remove", "path": "/items/0"},
        {"op": "copy", "from": "/items", "path": "/more"},
        {"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/z"},
        {"op": "replace", "path": "/items", "value": []},
    ]
    assert json_patch(document, operations) == {
        "metadata": {"labels": {"x/y": "c", "z": "b"}},
        "items": [],
        "more": [2, 3],
    }


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ({"op": "add"}, BadRequest),
        ([1], BadRequest),
        ([{"op": "jump", "path": "/a"}], Invalid),
        ([{"op": "add", "value": 1}], Invalid),
        ([{"op": "remove", "path": "/absent"}], Invalid),
        ([{"op": "add", "path": "/absent/child", "value": 1}], Invalid),
        ([{"op": ["add"], "path": "/a", "value": 1}], Invalid),
        ([{"op": "test", "path": "/a", "value": 2}], Invalid),
        ([{"op": "replace", "path": "", "value": 2}], Invalid),
        ([{"op": "copy", "from": "/absent/x", "path": "/b"}], Invalid),
        (
            [{"op": "test", "path": "/a", "value": 1}] * (PATCH_OPERATIONS.value + 1),
            RequestEntityTooLarge,
        ),
    ],
)
def test_json_patch_refusals(operations: Any, error: type[APIError]) -> None:
    with pytest.raises(error):
        json_patch({"a": 1}, operations)


def test_copies_cannot_grow_without_bound() -> None:
    document = {"a": {"text": "x" * 1000}}
    doubling = [{"op": "copy", "from": "/a", "path": f"/a/b{index}"} for index in range(40)]
    with pytest.raises(RequestEntityTooLarge):
        json_patch(document, doubling)


def patch(document: JSON, *operations: JSON) -> JSON:
    """Apply operations to a copy."""
    return json_patch(copy.deepcopy(document), list(operations))


def refusal(document: JSON, *operations: JSON) -> str:
    """Return why operations do not apply."""
    with pytest.raises(Invalid) as refused:
        patch(document, *operations)
    assert not refused.value.causes  # the reason is for the log of an engineer, as upstream
    return str(refused.value.__cause__)


DOCUMENT: JSON = {"a": [1, 2, 3], "b": {"c": None, "d": "secret", "": 4, "~1": 5}, "e": 1}


@pytest.mark.parametrize(
    ("operation", "changed"),
    [
        ({"op": "test", "path": "/absent", "value": None}, {}),
        ({"op": "test", "path": "/absent"}, {}),
        ({"op": "test", "path": "/b/c"}, {}),
        ({"op": "test", "path": "/b/c", "value": None}, {}),
        ({"op": "test", "path": "/a/-1", "value": 3}, {}),
        ({"op": "test", "path": "/b/", "value": 4}, {}),
        ({"op": "test", "path": "/b/~01", "value": 5}, {}),
        ({"op": "test", "path": "", "value": DOCUMENT}, {}),
        ({"op": "add", "path": "/a/-1", "value": 9}, {"a": [1, 2, 3, 9]}),
        ({"op": "add", "path": "/a/-2", "value": 9}, {"a": [1, 2, 9, 3]}),
        ({"op": "add", "path": "/a/-4", "value": 9}, {"a": [9, 1, 2, 3]}),
        ({"op": "add", "path": "/a/+01", "value": 9}, {"a": [1, 9, 2, 3]}),
        ({"op": "add", "path": "/a/3", "value": 9}, {"a": [1, 2, 3, 9]}),
        ({"op": "add", "path": "/a/-", "value": 9}, {"a": [1, 2, 3, 9]}),
        ({"op": "add", "path": "/e"}, {"e": None}),
        ({"op": "remove", "path": "/a/-1"}, {"a": [1, 2]}),
        ({"op": "remove", "path": "/a/-3"}, {"a": [2, 3]}),
        ({"op": "replace", "path": "/a/-2", "value": 9}, {"a": [1, 9, 3]}),
        ({"op": "replace", "path": "/new", "value": 9}, {"new": 9}),
        ({"op": "copy", "from": "/a/-1", "path": "/e"}, {"e": 3}),
        ({"op": "copy", "from": "/absent", "path": "/e"}, {"e": None}),
        ({"op": "move", "from": "/a/-1", "path": "/a/0"}, {"a": [3, 1, 2]}),
    ],
)
def test_where_kubernetes_differs_from_the_rfc(operation: JSON, changed: JSON) -> None:
    assert patch(DOCUMENT, operation) == {**DOCUMENT, **changed}


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"op": "test", "path": "/b/d", "value": "x"}, "testing value /b/d failed: test failed"),
        ({"op": "test", "path": "/b/d"}, "testing value /b/d failed: test failed"),
        ({"op": "test", "path": "/e", "value": True}, "testing value /e failed: test failed"),
        ({"op": "test", "path": "/e", "value": 1.0}, "testing value /e failed: test failed"),
        (
            {"op": "test", "path": "/a", "value": [1, 2, True]},
            "testing value /a failed: test failed",
        ),
        (
            {"op": "test", "path": "/absent/x", "value": None},
            'test operation does not apply: is missing path: "/absent/x": missing value',
        ),
        (
            {"op": "test", "path": "/a/7", "value": 1},
            "error in test for path: '/a/7': Unable to access invalid index: 7: invalid index referenced",
        ),
        (
            {"op": "add", "path": "/b/d/x", "value": 1},
            'add operation does not apply: doc is missing path: "/b/d/x": missing value',
        ),
        (
            {"op": "add", "path": "", "value": {}},
            'add operation does not apply: doc is missing path: "": missing value',
        ),
        (
            {"op": "add", "path": "/a/5", "value": 1},
            "error in add for path: '/a/5': Unable to access invalid index: 5: invalid index referenced",
        ),
        (
            {"op": "add", "path": "/a/-5", "value": 1},
            "error in add for path: '/a/-5': Unable to access invalid index: -5: invalid index referenced",
        ),
        (
            {"op": "remove", "path": "/b/x"},
            "error in remove for path: '/b/x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            {"op": "replace", "path": "/a/x", "value": 1},
            (
                "replace operation does not apply: doc is missing key: /a/x: "
                'strconv.Atoi: parsing "x": invalid syntax'
            ),
        ),
        ({"op": "add", "path": f"/a/{'9' * 5000}", "value": 1}, None),
        ({"op": "add", "path": "/a/²", "value": 1}, None),
        ({"op": "move", "from": "/absent", "path": "/e"}, None),
        ({"op": "move", "from": "/b", "path": "/b/x"}, None),
        ({"op": "replace", "path": ""}, "replace operation value must be object or array"),
        ({"op": 5, "path": "/a"}, "Unexpected kind: unknown"),
        ({"op": "copy", "path": "/a"}, "copy operation failed to decode from: missing value"),
    ],
)
def test_refusals_are_worded_as_kubernetes_words_them(operation: JSON, message: str | None) -> None:
    said = refusal(DOCUMENT, operation)
    assert message is None or said == message
    assert "secret" not in said


PATHS = st.sampled_from(
    ["/a", "/a/0", "/a/-1", "/a/-", "/a/9", "/b", "/b/c", "/b/d/e", "/b/d", "", "x", "/x", "/x/y"]
)
VALUES = st.sampled_from([None, 1, True, "hidden", ["hidden"], {"hidden": {"hidden": "hidden"}}])
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": PATHS},
    optional={"from": PATHS, "value": VALUES},
)


@given(st.lists(OPERATIONS, max_size=6))
def test_errors_never_print_a_value(operations: list[JSON]) -> None:
    document = {"a": ["hidden", "hidden"], "b": {"c": "hidden", "d": {"e": "hidden"}}}
    said = ""
    try:
        json_patch(document, operations)
    except APIError as error:
        said = str(error.status())
    assert "hidden" not in said


def test_a_patch_may_not_move_elements_without_end() -> None:
    many = [0] * (PATCH_WORK.value // 5000)
    operations = [{"op": "add", "path": "/a/0", "value": 1}] * 6000
    with pytest.raises(RequestEntityTooLarge, match="moves too many elements"):
        json_patch({"a": many}, operations)
    appending = [{"op": "add", "path": "/a/-", "value": 1}] * PATCH_OPERATIONS.value
    assert len(json_patch({"a": [0] * 500_000}, appending)["a"]) == 510_000


def test_the_work_of_an_operation_does_not_depend_on_the_document() -> None:
    def work(size: int) -> int:
        patcher = _Patcher({"a": [0] * size, "b": {str(index): 0 for index in range(size)}})
        for operation in (
            {"op": "replace", "path": "/a/3", "value": 1},
            {"op": "test", "path": "/a/-1", "value": 0},
            {"op": "move", "from": "/b/7", "path": "/b/x"},
            {"op": "move", "from": "/a", "path": "/c"},
            {"op": "remove", "path": "/c/-1"},
        ):
            patcher.apply(operation)
        return patcher.steps

    assert work(10) == work(10_000)


def test_copies_are_charged_by_memory_too() -> None:
    document: JSON = {"a": {f"{index:x}": {} for index in range(60_000)}}
    size = len(msgspec.json.encode(document["a"]))
    operations = [
        {"op": "copy", "from": "/a", "path": f"/b{index}"}
        for index in range(PATCH_COPIES.value // size)
    ]
    with pytest.raises(RequestEntityTooLarge, match="values of the document"):
        json_patch(document, operations)


def test_a_patch_cannot_nest_a_document_beyond_the_limit() -> None:
    inner: JSON = {}
    for _ in range(200):
        inner = {"a": inner}
    path = "/x"
    operations: list[JSON] = [{"op": "add", "path": "/x", "value": {}}]
    for _ in range(20):
        operations.append({"op": "add", "path": f"{path}/a", "value": copy.deepcopy(inner)})
        path += "/a" * 201
    assert refusal({}, *operations) == "exceeded max depth"
    copying = [*operations, {"op": "copy", "from": "/x", "path": "/y"}]
    assert refusal({}, *copying) == "exceeded max depth"
    comparing = [*operations, {"op": "test", "path": "/x", "value": operations[0]["value"]}]
    refusal({}, *comparing)
    assert len(path) > sys.getrecursionlimit()


def test_the_cost_grows_with_what_may_move() -> None:
    plain: list[JSON] = [{"op": "replace", "path": "/spec/replicas", "value": 1}]
    moving: list[JSON] = [{"op": "remove", "path": "/a/0"}] * 100
    from_list: list[JSON] = [{"op": "move", "from": "/a/1", "path": "/b"}]
    assert json_patch_cost(100_000, plain) < json_patch_cost(100_000, from_list)
    assert json_patch_cost(100_000, moving) > 30_000 + json_patch_cost(100_000, plain)
    assert json_patch_cost(100_000, "no list") == 0


def test_strict_validation_names_members_that_no_operation_has() -> None:
    operations = [{"op": "add", "path": "/a", "value": 1, "zz": 1, "b": 2}, 7, {"from": "/x"}]
    assert unknown_members(operations) == ['unknown field "[0].b"', 'unknown field "[0].zz"']
    assert unknown_members({"op": 1}) == []


@pytest.mark.parametrize(
    ("operations", "found"), [({}, "object"), ("a", "string"), (1, "number"), (True, "bool")]
)
def test_a_patch_is_a_list_of_operations(operations: Any, found: str) -> None:
    wanted = f"cannot unmarshal {found} into Go value of type"
    with pytest.raises(BadRequest, match=rf"{wanted} \[\]handlers\.jsonPatchOp"):
        json_patch({}, operations)
    if not isinstance(operations, dict):
        with pytest.raises(BadRequest, match=rf"{wanted} handlers\.jsonPatchOp"):
            json_patch({}, [{}, operations])
