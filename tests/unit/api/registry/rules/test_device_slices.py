"""Rules of resource slices."""

from typing import Any

import pytest
from fakes.rule_samples import changed, lines

from kubelite.api.registry.rules import device_slices as rules


def slice_of(*devices: Any, **fields: Any) -> dict[str, Any]:
    pool = {"name": "p", "resourceSliceCount": 1, "generation": 1}
    spec = {"driver": "x.io", "pool": pool, "nodeName": "n", **fields}
    return {"spec": {**spec, "devices": list(devices)} if devices else spec}


def device(**fields: Any) -> dict[str, Any]:
    return {"name": "d", **fields}


PLACES = (
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
)
DEVICE_PLACES = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when "
    "`perDeviceNodeSelection` is set to true in the ResourceSlice spec"
)
FIRST = "spec.devices[0]"
TERM = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}


def test_a_valid_slice_has_no_causes() -> None:
    good = device(
        attributes={
            "model": {"string": "a"},
            "y.io/fast": {"bool": False},
            "count": {"int": 0},
            "v": {"version": "1.2.3-alpha.1+build.5"},
        },
        capacity={"memory": {"value": "1Gi"}},
        taints=[{"key": "a", "value": "b", "effect": "NoSchedule"}],
        consumesCounters=[{"counterSet": "s", "counters": {"c": {"value": "1"}}}],
        bindingConditions=["Ready"],
        bindingFailureConditions=["Failed"],
        nodeAllocatableResourceMappings={"memory": {"capacityKey": "memory"}},
    )
    assert lines(rules.resource_slice(slice_of(good))) == []
    counters = slice_of(sharedCounters=[{"name": "s", "counters": {"c": {"value": "1"}}}])
    assert lines(rules.resource_slice(counters)) == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("spec.driver", "", "spec.driver: Required value"),
        ("spec.driver", "x" * 64, "spec.driver: Too long: may not be more than 63 bytes"),
        ("spec.pool.name", "", "spec.pool.name: Required value"),
        ("spec.pool.resourceSliceCount", 0,
         "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero"),
        ("spec.pool.generation", -1,
         "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero"),
        ("spec.nodeName", None, f"spec: Required value: {PLACES}"),
        ("spec.allNodes", True,
         f'spec: Invalid value: "{{`nodeName`, `allNodes`}}": {PLACES}, but multiple fields are set'),
        ("spec.allNodes", False,
         "spec.allNodes: Invalid value: false: must be either unset or set to true"),
        ("spec.perDeviceNodeSelection", False,
         "spec.perDeviceNodeSelection: Invalid value: false: must be either unset or set to true"),
        ("spec.sharedCounters", [],
         'spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed'),
    ],
)  # fmt: skip
def test_slices(path: str, value: Any, expected: str) -> None:
    assert lines(rules.resource_slice(changed(slice_of(device()), path, value))) == [expected]


def test_an_empty_node_name_is_none() -> None:
    found = lines(rules.resource_slice(slice_of(nodeName="")))
    assert found == [
        'spec.nodeName: Invalid value: "": must be either unset or set to a non-empty string',
        f"spec: Required value: {PLACES}",
    ]


def test_a_selector_of_nodes_has_one_term() -> None:
    chosen = slice_of(nodeSelector={"nodeSelectorTerms": [TERM, TERM]})
    found = lines(rules.resource_slice(changed(chosen, "spec.nodeName", None)))
    assert len(found) == 1
    assert found[0].endswith("must have exactly one node selector term")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "D"}, "name"),
        ({"attributes": {"a-b": {"int": 1}}}, "attributes"),
        ({"attributes": {"a/": {"int": 1}}}, "attributes"),
        ({"attributes": {"a": {}}}, "attributes[a]"),
        ({"attributes": {"a": {"int": 1, "bool": True}}}, "attributes[a]"),
        ({"attributes": {"a": {"string": "x" * 65}}}, "attributes[a].string"),
        ({"attributes": {"a": {"version": "1.2"}}}, "attributes[a].version"),
        ({"attributes": {"a": {"version": "01.2.3"}}}, "attributes[a].version"),
        ({"attributes": {"a": {"strings": []}}}, "attributes[a].strings"),
        ({"attributes": {"a": {"versions": ["1.0.0", "1"]}}}, "attributes[a].versions[1]"),
        ({"attributes": {f"a{n}": {"int": n} for n in range(33)}}, ""),
        ({"attributes": {"a": {"ints": [1] * 49}}}, ""),
        ({"taints": [{"key": "a"}]}, "taints[0].effect"),
        ({"taints": [{"key": "a", "effect": "None"}] * 17}, "taints"),
        ({"consumesCounters": [{"counterSet": "s"}]}, "consumesCounters[0].counters"),
        ({"consumesCounters": [{"counters": {"a": {}}}]}, "consumesCounters[0].counterSet"),
        ({"bindingConditions": ["A"]}, "bindingFailureConditions"),
        ({"bindingFailureConditions": ["A"]}, "bindingConditions"),
        ({"bindingConditions": ["A"], "bindingFailureConditions": ["A"]}, "bindingFailureConditions[0]"),
        ({"bindingConditions": ["A", "A"], "bindingFailureConditions": ["B"]}, "bindingConditions[1]"),
        ({"nodeName": "n"}, ""),
        ({"capacity": {"m": {"value": "1", "requestPolicy": {}}}}, "capacity[m].requestPolicy"),
        ({"nodeAllocatableResourceMappings": {"x.io/a": {"allocationMultiplier": "1"}}},
         "nodeAllocatableResourceMappings[x.io/a]"),
        ({"nodeAllocatableResourceMappings": {"cpu": {"capacityKey": "m"}}},
         "nodeAllocatableResourceMappings[cpu].capacityKey"),
        ({"nodeAllocatableResourceMappings": {"cpu": {"allocationMultiplier": "0"}}},
         "nodeAllocatableResourceMappings[cpu].allocationMultiplier"),
    ],
)  # fmt: skip
def test_devices(fields: dict[str, Any], expected: str) -> None:
    found = rules.resource_slice(slice_of(device(**fields)))
    assert [cause.path for cause in found] == [f"{FIRST}.{expected}".rstrip(".")]


def test_a_long_key_is_shown_without_its_middle() -> None:
    found = rules.resource_slice(slice_of(device(attributes={"a" * 99: {}})))
    assert found[-1].path == f"{FIRST}.attributes[{'a' * 47}...{'a' * 46}]"


def test_what_devices_may_be_per_slice() -> None:
    plain = [device(name=f"d{number}") for number in range(129)]
    found = lines(rules.resource_slice(slice_of(*plain)))
    assert found == ["spec.devices: Too many: 129: must have at most 128 items"]
    tainted = [device(name=f"d{number}") for number in range(64)]
    tainted.append(device(name="x", taints=[{"key": "a", "effect": "None"}]))
    found = lines(rules.resource_slice(slice_of(*tainted)))
    assert found == ["spec.devices: Too many: 65: must have at most 64 items"]
    found = lines(rules.resource_slice(slice_of(device(), device())))
    assert found == ['spec.devices[1]: Duplicate value: "d"']


def test_devices_may_name_their_nodes() -> None:
    def paths(*devices: Any) -> list[str]:
        per_device = changed(slice_of(*devices, perDeviceNodeSelection=True), "spec.nodeName", None)
        return lines(rules.resource_slice(per_device))

    assert paths(device(nodeName="n")) == []
    assert paths(device()) == [f"{FIRST}: Required value: {DEVICE_PLACES}"]
    shown = "{`nodeName`, `allNodes`}"
    both = paths(device(nodeName="n", allNodes=True))
    assert both == [f'{FIRST}: Invalid value: "{shown}": {DEVICE_PLACES}']


def test_taints_that_stay_are_not_checked_again() -> None:
    old = slice_of(device(taints=[{"key": "a", "effect": "Former"}]))
    assert lines(rules.resource_slice_update(old, old)) == []
    assert len(rules.resource_slice(old)) == 1


def test_driver_pool_and_node_are_immutable() -> None:
    old = slice_of()
    for path in ("spec.driver", "spec.pool.name", "spec.nodeName"):
        found = rules.resource_slice_update(changed(old, path, "other"), old)
        assert lines(found) == [f'{path}: Invalid value: "other": field is immutable']


POLICY = f"{FIRST}.capacity[m].requestPolicy"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, []),
        ({"default": "2Gi", "validValues": ["1Gi", "2Gi"]}, []),
        ({"validValues": ["1Gi"]},
         [f"{POLICY}.default: Required value: required when validValues is defined"]),
        ({"default": "3Gi", "validValues": ["1Gi"]},
         [f'{POLICY}.validValues: Invalid value: "3Gi": default value is not valid according to the requestPolicy']),
        ({"default": "1Gi", "validValues": ["1Gi", "16Gi"]},
         [f'{POLICY}.validValues[1]: Invalid value: "16Gi": option is larger than capacity value: 8Gi']),
        ({"default": "1Gi", "validValues": ["2Gi", "1Gi"]},
         [f'{POLICY}.validValues[1]: Invalid value: "1Gi": values must be sorted in ascending order']),
        ({"default": "1Gi", "validValues": ["1Gi", "1Gi"]},
         [f'{POLICY}.validValues[1]: Duplicate value: "1073741824"']),
        ({"default": "1Gi", "validValues": ["1Gi"], "validRange": {"min": "1Gi"}},
         [(f'{POLICY}: Forbidden: exactly one policy can be specified, cannot specify "validValues" and '
          '"validRange" at the same time')]),
        ({"default": "1Gi", "validRange": {}},
         [f"{POLICY}.validRange.min: Required value: required when validRange is defined"]),
        ({"default": "2Gi", "validRange": {"min": "1Gi", "max": "3Gi", "step": "1Gi"}}, []),
        ({"default": "1536Mi", "validRange": {"min": "1Gi", "step": "1Gi"}},
         [(f'{POLICY}.validRange.step: Invalid value: "1536Mi": value is not a multiple of a given step '
          "(1Gi) from (1Gi)")]),
        ({"default": "1Gi", "validRange": {"min": "2Gi", "max": "16Gi"}},
         [f'{POLICY}.validRange.min: Invalid value: "1Gi": default is less than min: 2Gi',
          f'{POLICY}.validRange.max: Invalid value: "16Gi": max is larger than capacity value: 8Gi']),
        ({"default": "1Gi", "validRange": {"min": "1Gi", "step": "0"}},
         [f'{POLICY}.validRange.step: Invalid value: "1Gi": value is not a multiple of a given step (0) from (1Gi)']),
    ],
)  # fmt: skip
def test_what_may_be_requested_of_a_shared_capacity(
    policy: dict[str, Any], expected: list[str]
) -> None:
    capacity = {"m": {"value": "8Gi", "requestPolicy": policy}}
    shared = device(allowMultipleAllocations=True, capacity=capacity)
    assert lines(rules.resource_slice(slice_of(shared))) == expected


def test_sets_of_counters() -> None:
    sets = [
        {"name": "a", "counters": {"C": {}}},
        {"name": "a", "counters": {}},
        {"counters": {"c": {}}},
    ]
    found = [cause.path for cause in rules.resource_slice(slice_of(sharedCounters=sets))]
    at = "spec.sharedCounters"
    assert found == [f"{at}[0].counters", f"{at}[1].counters", f"{at}[2].name", f"{at}[1]"]
    many = [{"name": f"a{number}", "counters": {"c": {}}} for number in range(9)]
    found = lines(rules.resource_slice(slice_of(sharedCounters=many)))
    assert found == [f"{at}: Too many: 9: must have at most 8 items"]
