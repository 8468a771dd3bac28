"""JSON patch and merge patch."""

from typing import Any

import pytest

from kubelite.api.errors import APIError, BadRequest, Invalid, RequestEntityTooLarge
from kubelite.api.machinery.patch import OPERATIONS_LIMIT, json_patch, merge_patch


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
        ([{"op": ["add"], "path": "/a"}], Invalid),
        ([{"op": None, "path": "/a"}], Invalid),
        ([{"op": "add", "value": 1}], Invalid),
        ([{"op": "remove", "path": "/absent"}], Invalid),
        ([{"op": "add", "path": "/absent/child", "value": 1}], Invalid),
        ([{"op": "test", "path": "/a", "value": 2}], Invalid),
        ([{"op": "replace", "path": "", "value": 2}], Invalid),
        ([{"op": "copy", "from": "/absent", "path": "/b"}], Invalid),
        (
            [{"op": "test", "path": "/a", "value": 1}] * (OPERATIONS_LIMIT + 1),
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


def test_merge_patch() -> None:
    document = {"a": {"b": 1, "c": 2}, "d": [1], "e": 1}
    patch = {"a": {"b": None, "x": {"y": None, "z": 1}}, "d": [2], "e": {"f": 1}}
    assert merge_patch(document, patch) == {"a": {"c": 2, "x": {"z": 1}}, "d": [2], "e": {"f": 1}}
    with pytest.raises(BadRequest, match="Invalid JSON Patch"):
        merge_patch({}, [])
