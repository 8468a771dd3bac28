"""Strategic merge patch."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes.steps import RATIO_MAX, Word, growth

from kubelite.api.errors import APIError
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.strategic import strategic_merge

POD = compile_struct(Pod)


def merged(original: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Merge the specs of two pods."""
    spec: dict[str, Any] = strategic_merge(POD, {"spec": original}, {"spec": patch})["spec"]
    return spec


def test_lists_merge_by_key() -> None:
    original = {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}
    patch = {"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}
    assert merged(original, patch) == {
        "containers": [
            {"name": "a", "image": "1"},
            {"name": "b", "image": "2"},
            {"name": "c", "image": "3"},
        ]
    }


def test_elements_can_be_deleted_or_replaced() -> None:
    original = {"containers": [{"name": "a"}, {"name": "b"}]}
    assert merged(original, {"containers": [{"name": "a", "$patch": "delete"}]}) == {
        "containers": [{"name": "b"}]
    }
    original = {"containers": [{"name": "a"}, {"name": "b"}]}
    patch: dict[str, Any] = {"containers": [{"$patch": "replace"}, {"name": "c"}]}
    assert merged(original, patch) == {"containers": [{"name": "c"}]}


def test_maps_can_be_replaced_or_deleted() -> None:
    original = {"securityContext": {"runAsUser": 1, "runAsGroup": 2}}
    patch = {"securityContext": {"$patch": "replace", "runAsUser": 3}}
    assert merged(original, patch) == {"securityContext": {"runAsUser": 3}}
    original = {"securityContext": {"runAsUser": 1}}
    assert merged(original, {"securityContext": {"$patch": "delete"}}) == {"securityContext": {}}


def test_lists_without_a_key_are_replaced() -> None:
    original = {"containers": [{"name": "a", "args": ["1", "2"]}]}
    patch = {"containers": [{"name": "a", "args": ["3"]}]}
    assert merged(original, patch) == {"containers": [{"name": "a", "args": ["3"]}]}


def test_nulls_remove_and_are_dropped_from_what_is_new() -> None:
    original = {"nodeName": "n", "containers": [{"name": "a"}]}
    patch: dict[str, Any] = {
        "nodeName": None,
        "affinity": {"nodeAffinity": None, "podAffinity": {}},
    }
    assert merged(original, patch) == {
        "containers": [{"name": "a"}],
        "affinity": {"podAffinity": {}},
    }


def test_the_order_is_set() -> None:
    original = {"containers": [{"name": "a"}, {"name": "b"}, {"name": "s"}]}
    patch = {
        "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
        "containers": [{"name": "c", "image": "x"}],
    }
    names = [container["name"] for container in merged(original, patch)["containers"]]
    assert names == ["c", "b", "a", "s"]


def test_scalars_merge_and_are_deleted() -> None:
    original = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}
    result = strategic_merge(POD, original, patch)
    assert sorted(result["metadata"]["finalizers"]) == ["b", "c"]


def test_retained_keys() -> None:
    original = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    result = strategic_merge(compile_struct(Deployment), original, patch)
    assert result == {"spec": {"strategy": {"type": "Recreate"}}}


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (
            {"containers": [{"image": "x"}]},
            "map: map[image:...] does not contain declared merge key: name",
        ),
        (
            {"containers": [{"name": "a", "$patch": "jump"}]},
            "unknown patch type: jump in map: map[$patch:... name:...]",
        ),
        (
            {"containers": [{"name": "a", "$patch": "merge"}]},
            "merging lists cannot yet be specified in the patch",
        ),
        ({"$retainKeys": 5}, "invalid patch format of retainKeys"),
        ({"$setElementOrder/containers": 5}, "invalid patch format of setElementOrder list"),
        ({"$deleteFromPrimitiveList/x": 5}, "invalid patch format of primitive list"),
        (
            {"$retainKeys": ["a"], "b": 1},
            "the server rejected our request due to an error in our request",
        ),
    ],
)
def test_refusals(patch: dict[str, Any], message: str) -> None:
    with pytest.raises(APIError) as refused:
        merged({"containers": [{"name": "a"}]}, patch)
    assert refused.value.message == message


def test_errors_name_fields_and_never_say_what_they_hold() -> None:
    for patch in (
        {"containers": [{"image": "hidden", "env": ["hidden"]}]},
        {"containers": [{"name": "hidden", "$patch": "jump"}]},
        {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "hidden"}]},
        {"containers": [{f"field{index}": "hidden" for index in range(1000)}]},
    ):
        with pytest.raises(APIError) as refused:
            merged({"containers": [{"name": "a"}]}, patch)
        assert "hidden" not in str(refused.value.status())
        assert len(refused.value.message) < 1000


def ordering(size: int) -> Callable[[], Any]:
    """Bring so many containers into another order."""
    original = [{"name": Word(f"c{index}"), "image": "i"} for index in range(size)]
    names = [{"name": Word(f"c{index}")} for index in reversed(range(size))]
    patch = [{"name": Word(f"c{index}"), "image": "j"} for index in reversed(range(size))]
    return lambda: merged(
        {"containers": original}, {"$setElementOrder/containers": names, "containers": patch}
    )


def finalizers(size: int) -> Callable[[], Any]:
    """Merge so many scalars, delete as many, and order them."""
    present = [Word(f"f{index}") for index in range(size)]
    added = [Word(f"g{index}") for index in range(size)]
    patch = {
        "finalizers": added,
        "$setElementOrder/finalizers": [*added, *present],
        "$deleteFromPrimitiveList/finalizers": [Word(f"f{index}") for index in range(size)],
    }
    return lambda: strategic_merge(POD, {"metadata": {"finalizers": present}}, {"metadata": patch})


def retaining(size: int) -> Callable[[], Any]:
    """Retain so many keys of as many."""
    keys = [Word(f"k{index}") for index in range(size)]
    patch: dict[str, Any] = {Word(f"k{index}"): 1 for index in range(size)}
    patch["$retainKeys"] = keys
    return lambda: merged({Word(f"o{index}"): 1 for index in range(size)}, patch)


@pytest.mark.parametrize("work", [ordering, finalizers, retaining])
def test_the_work_grows_no_faster_than_the_patch(work: Callable[[int], Callable[[], Any]]) -> None:
    assert growth(work) < RATIO_MAX
