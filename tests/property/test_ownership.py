"""Properties of field ownership and of server-side apply."""

import copy
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.apply import apply
from kubelite.api.machinery.field_sets import (
    FieldSet,
    created,
    cut,
    difference,
    intersection,
    union,
    without,
)
from kubelite.api.machinery.managed_fields import Writer, read_entries, track
from kubelite.api.machinery.schema import compile_struct

POD = compile_struct(Pod)
JSON = dict[str, Any]
ONE = Writer("one", "v1", "2026-01-01T00:00:00Z")
TWO = Writer("two", "v1", "2026-01-01T00:00:01Z")

words = st.sampled_from("xyz")


@st.composite
def configs(draw: st.DrawFn) -> JSON:
    """Make configurations of a pod."""
    metadata: JSON = {"name": "p", "namespace": "n"}
    if labels := draw(st.dictionaries(st.sampled_from("abc"), words)):
        metadata["labels"] = labels
    spec: JSON = {}
    containers = [
        {"name": name, **draw(st.dictionaries(st.sampled_from(["image", "workingDir"]), words))}
        for name in draw(st.lists(st.sampled_from("abc"), unique=True))
    ]
    if containers:
        spec["containers"] = containers
    if draw(st.booleans()):
        spec["nodeName"] = draw(words)
    made: JSON = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    return {**made, "spec": spec} if spec else made


@given(configs(), configs())
def test_applying_twice_is_applying_once(first: JSON, second: JSON) -> None:
    live = apply(POD, apply(POD, None, first, ONE), second, TWO, force=True)
    assert apply(POD, live, second, TWO, force=True) == live


def without_record(thing: JSON) -> JSON:
    """Leave the managers out."""
    metadata = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
    return {**thing, "metadata": metadata}


def unordered(thing: JSON) -> JSON:
    """Sort the containers, whose order nobody owns."""
    spec = thing.get("spec", {})
    containers = sorted(spec.get("containers", []), key=lambda each: str(each["name"]))
    return {**thing, "spec": {**spec, "containers": containers}}


@given(configs(), configs())
def test_one_applier_gets_just_what_it_says(first: JSON, second: JSON) -> None:
    live = apply(POD, apply(POD, None, first, ONE), second, ONE)
    wanted = apply(POD, None, second, ONE)
    left, right = without_record(live), without_record(wanted)
    # The order of containers that stay is that of the live object.
    assert unordered(left) == unordered(right)


@given(configs(), configs())
def test_leaving_takes_only_what_nobody_else_owns(first: JSON, second: JSON) -> None:
    nothing = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}}
    both = apply(POD, apply(POD, None, first, ONE), second, TWO, force=True)
    alone = apply(POD, both, nothing, ONE)
    for key, value in second["metadata"].get("labels", {}).items():
        assert alone["metadata"]["labels"][key] == value
    kept = {each["name"]: each for each in alone.get("spec", {}).get("containers", [])}
    for container in second.get("spec", {}).get("containers", []):
        assert kept[container["name"]].items() >= container.items()
    assert set(kept) == {each["name"] for each in second.get("spec", {}).get("containers", [])}


def owned_by_all(thing: JSON) -> FieldSet | None:
    """Return what anybody owns."""
    owned: FieldSet | None = None
    for entry in read_entries(thing["metadata"].get("managedFields")) or []:
        owned = union(owned, entry.fields)
    return owned


@settings(max_examples=150)
@given(st.lists(configs(), min_size=2, max_size=5))
def test_updates_own_every_field_once(versions: list[JSON]) -> None:
    live = copy.deepcopy(versions[0])
    track(POD, None, live, Writer("m0", "v1", "2026-01-01T00:00:00Z"))
    for index, version in enumerate(versions[1:], 1):
        new = copy.deepcopy(version)
        writer = Writer(f"m{index % 3}", "v1", f"2026-01-01T00:00:{index:02}Z")
        track(POD, live, new, writer)
        live = new
    if "managedFields" not in live["metadata"]:
        return
    entries = read_entries(live["metadata"]["managedFields"]) or []
    for position, entry in enumerate(entries):
        for other in entries[position + 1 :]:
            assert intersection(entry.fields, other.fields) is None
    # Nobody owns what is not there.
    there = created(live, POD)
    assert without(owned_by_all(live), there) is None


def normal(node: FieldSet) -> FieldSet:
    """Give a tree its one normal form: a member with children holds a dot, one without is empty."""
    children = {key: normal(child) for key, child in node.items() if key != "."}
    return {".": {}, **children} if children and "." in node else children


sets = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(st.sampled_from(["f:a", "f:b", 'v:"x"', "."]), inner, max_size=3),
    max_leaves=8,
).map(normal)


@given(sets, sets)
def test_set_algebra(left: FieldSet, right: FieldSet) -> None:
    both, either = intersection(left, right), union(left, right)
    assert union(left, left) == left
    assert intersection(left, either) == left
    assert union(without(left, right), both) == left
    assert intersection(without(left, right), right) is None
    assert cut(left, {}) is None


SWAPPED = [{"name": "a"}, {"name": "b"}]


@example({"spec": {"containers": SWAPPED}}, {"spec": {"containers": SWAPPED[::-1]}})
@given(configs(), configs())
def test_difference_is_exact(old: JSON, new: JSON) -> None:
    found = difference(old, new, POD)
    same = unordered(old) == unordered(new)
    assert (found.changed is None and found.removed is None) == same
