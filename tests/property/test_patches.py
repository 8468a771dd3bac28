"""Properties of patches: a patch made from two documents leads from the one to the other."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.patch import merge_patch
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.strategic import strategic_merge

POD = compile_struct(Pod)
JSON = dict[str, Any]

keys = st.sampled_from(["a", "b", "c", "d"])
scalars = st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from(["", "x", "y"]))
# Merge patch cannot say null, nor tell an empty object from an absent one inside what it adds.
documents = st.recursive(
    st.dictionaries(keys, scalars | st.lists(scalars, max_size=3), max_size=4),
    lambda inner: st.dictionaries(keys, inner | scalars, max_size=4),
    max_leaves=12,
)


def merge_difference(old: JSON, new: JSON) -> JSON:
    """Make the merge patch that leads from `old` to `new`."""
    patch: JSON = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            if before != value:
                patch[key] = merge_difference(before, value)
        elif before != value or type(before) is not type(value) or key not in old:
            patch[key] = value
    return patch


@given(documents, documents)
def test_merge_patches_lead_to_their_target(old: JSON, new: JSON) -> None:
    patch = merge_difference(old, new)
    assert merge_patch(copy.deepcopy(old), copy.deepcopy(patch)) == new


@given(documents, documents)
def test_merge_patches_are_idempotent(old: JSON, patch: JSON) -> None:
    once = merge_patch(copy.deepcopy(old), copy.deepcopy(patch))
    assert merge_patch(copy.deepcopy(once), copy.deepcopy(patch)) == once


names = st.lists(st.sampled_from("abcde"), unique=True, max_size=5)
elements = st.dictionaries(st.sampled_from(["image", "tty", "stdin"]), st.sampled_from("xyz"))


@st.composite
def pods(draw: st.DrawFn) -> JSON:
    """Make pods whose containers, volumes and finalizers vary."""
    containers = [{"name": name, **draw(elements)} for name in draw(names)]
    spec: JSON = {"containers": containers}
    if draw(st.booleans()):
        spec["nodeName"] = draw(st.sampled_from("mn"))
    labels = draw(st.dictionaries(keys, st.sampled_from("xy")))
    metadata = {"labels": labels, "finalizers": draw(names)}
    return {"metadata": metadata, "spec": spec}


def strategic_difference(old: JSON, new: JSON) -> JSON:
    """Make the strategic merge patch that leads from `old` to `new`, as kubectl does."""
    before = {each["name"]: each for each in old["spec"]["containers"]}
    after = {each["name"]: each for each in new["spec"]["containers"]}
    containers: list[JSON] = [
        {"name": name, "$patch": "delete"} for name in before if name not in after
    ]
    for name, container in after.items():
        change = merge_difference(before.get(name, {}), container)
        containers.append({**change, "name": name})
    spec: JSON = {
        "containers": containers,
        "$setElementOrder/containers": [{"name": name} for name in after],
        "nodeName": new["spec"].get("nodeName"),
    }
    finalizers = new["metadata"]["finalizers"]
    gone = [each for each in old["metadata"]["finalizers"] if each not in finalizers]
    metadata = {
        "labels": merge_difference(old["metadata"]["labels"], new["metadata"]["labels"]),
        "$deleteFromPrimitiveList/finalizers": gone,
        "$setElementOrder/finalizers": finalizers,
        "finalizers": finalizers,
    }
    return {"metadata": metadata, "spec": spec}


@settings(max_examples=150)
@given(pods(), pods())
def test_strategic_patches_lead_to_their_target(old: JSON, new: JSON) -> None:
    patch = strategic_difference(old, new)
    result = strategic_merge(POD, copy.deepcopy(old), copy.deepcopy(patch))
    assert result == new
    again = strategic_merge(POD, copy.deepcopy(result), copy.deepcopy(patch))
    assert again == result


@given(pods(), pods())
def test_what_the_patch_does_not_name_stays(old: JSON, new: JSON) -> None:
    patch = {"spec": {"containers": new["spec"]["containers"]}}
    result = strategic_merge(POD, copy.deepcopy(old), copy.deepcopy(patch))
    kept = {each["name"] for each in result["spec"]["containers"]}
    assert kept == {
        each["name"] for each in (*old["spec"]["containers"], *new["spec"]["containers"])
    }
    assert result["metadata"] == old["metadata"]
