"""Merge patch."""

import pytest

from kubelite.api.errors import BadRequest
from kubelite.api.machinery.patch import merge_patch


def test_merge_patch() -> None:
    document = {"a": {"b": 1, "c": 2}, "d": [1], "e": 1}
    patch = {"a": {"b": None, "x": {"y": None, "z": 1}}, "d": [2], "e": {"f": 1}}
    assert merge_patch(document, patch) == {"a": {"c": 2, "x": {"z": 1}}, "d": [2], "e": {"f": 1}}
    with pytest.raises(BadRequest, match="Invalid JSON Patch"):
        merge_patch({}, None)
    with pytest.raises(
        BadRequest, match=r"cannot unmarshal array into Go value of type map\[string"
    ):
        merge_patch({}, [])
