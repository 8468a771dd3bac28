"""Which devices claims get on a node."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.resource import ResourceClaim, ResourceSlice
from kubelite.control.scheduler.devices.allocator import InvalidPools, TookTooLong
from kubelite.control.scheduler.devices.protocol import AllocationFailed
from kubelite.control.scheduler.devices.usage import Usage
from kubelite.limits import ALLOCATION_STEPS
from unit.control.scheduler.devices.offers import (
    DRIVER,
    allocate,
    got,
    make_claim,
    make_class,
    make_device,
    make_slice,
    node_info,
    wanted,
)

A100 = {"attributes": {"model": "a100"}, "capacity": {"memory": "40Gi"}}
H100 = {"attributes": {"model": "h100"}, "capacity": {"memory": "80Gi"}}
GPUS = [
    make_slice("s", make_device("a", **A100), make_device("b", **A100), make_device("c", **H100))
]
IS_H100 = f'device.attributes["{DRIVER}"].model == "h100"'
IS_LARGE = f'device.capacity["{DRIVER}"].memory.compareTo(quantity("64Gi")) >= 0'
MODEL = f"{DRIVER}/model"


def used(*devices: str, **fields: Any) -> Usage:
    """Return that some devices of the pool are given out."""
    results = [
        {"driver": DRIVER, "pool": "pool", "device": one, "request": "r", **fields}
        for one in devices
    ]
    body = {
        "metadata": {"name": "other", "uid": "other"},
        "status": {"allocation": {"devices": {"results": results}}},
    }
    usage = Usage()
    usage.changed(None, msgspec.convert(body, ResourceClaim))
    return usage


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (wanted(), [["a"]]),
        (wanted(count=2), [["a", "b"]]),
        (wanted(count=4), None),
        (wanted(IS_H100), [["c"]]),
        (wanted(IS_LARGE), [["c"]]),
        (wanted(IS_H100, count=2), None),
        (wanted("false"), None),
        (wanted(allocationMode="All"), [["a", "b", "c"]]),
        (wanted(IS_H100, allocationMode="All"), [["c"]]),
        (wanted("false", allocationMode="All"), None),
        ({"firstAvailable": [wanted("false", name="x"), wanted(IS_H100, name="y")]}, [["c"]]),
        (
            {"firstAvailable": [wanted(count=9, name="x"), wanted(count=3, name="y")]},
            [["a", "b", "c"]],
        ),
    ],
)
def test_one_request(request_: dict[str, Any], expected: list[list[str]] | None) -> None:
    assert got(allocate(GPUS, make_claim("c", request_))) == expected


def test_the_search_goes_back_to_earlier_requests_and_claims() -> None:
    # The first request takes what comes first, but the second can only have that.
    only_a = 'device.attributes["gpu.example.com"].index == 0'
    devices = [make_device(f"d{n}", attributes={"index": n}) for n in range(2)]
    found = allocate([make_slice("s", *devices)], make_claim("c", wanted(), wanted(only_a)))
    assert got(found) == [["d1", "d0"]]
    both = allocate(
        [make_slice("s", *devices)], make_claim("c", wanted()), make_claim("d", wanted(only_a))
    )
    assert got(both) == [["d1"], ["d0"]]


def test_devices_in_use_are_left_out_unless_for_admin_access() -> None:
    usage = used("a", "c")
    assert got(allocate(GPUS, make_claim("c", wanted()), usage=usage)) == [["b"]]
    assert allocate(GPUS, make_claim("c", wanted(allocationMode="All")), usage=usage) is None
    admin = make_claim("c", wanted(allocationMode="All", adminAccess=True))
    found = allocate(GPUS, admin, usage=usage)
    assert got(found) == [["a", "b", "c"]]
    assert found is not None
    assert {one.adminAccess for one in found[0].devices.results} == {True}
    # What is seen for administration is not in use.
    seen = used("a", adminAccess=True)
    assert got(allocate(GPUS, make_claim("c", wanted()), usage=seen)) == [["a"]]


def test_constraints_on_attributes() -> None:
    same = {"constraints": [{"matchAttribute": MODEL}]}
    apart = {"constraints": [{"distinctAttribute": MODEL}]}
    assert got(allocate(GPUS, make_claim("c", wanted(count=2), **same))) == [["a", "b"]]
    assert allocate(GPUS, make_claim("c", wanted(count=3), **same)) is None
    assert got(allocate(GPUS, make_claim("c", wanted(count=2), **apart))) == [["a", "c"]]
    assert allocate(GPUS, make_claim("c", wanted(count=3), **apart)) is None
    of_one = {"constraints": [{"matchAttribute": MODEL, "requests": ["r0"]}]}
    two = make_claim("c", wanted(count=2), wanted(IS_H100), **of_one)
    assert got(allocate(GPUS, two)) == [["a", "b", "c"]]
    missing = {"constraints": [{"matchAttribute": f"{DRIVER}/nothing"}]}
    assert allocate(GPUS, make_claim("c", wanted(), **missing)) is None
    with pytest.raises(AllocationFailed, match=r"cannot add device gpu\.example\.com/pool/c"):
        allocate(GPUS, make_claim("c", wanted(allocationMode="All"), **same))


def test_values_of_attributes_match_by_kind_too() -> None:
    mixed = [make_device("a", attributes={"x": 1}), make_device("b", attributes={"x": True})]
    same = {"constraints": [{"matchAttribute": f"{DRIVER}/x"}]}
    assert allocate([make_slice("s", *mixed)], make_claim("c", wanted(count=2), **same)) is None


TAINT = {"key": "broken", "value": "yes", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        ([], [["b"]]),
        ([{"key": "broken", "operator": "Exists"}], [["a"]]),
        ([{"operator": "Exists"}], [["a"]]),
        ([{"key": "broken", "operator": "Equal", "value": "yes"}], [["a"]]),
        ([{"key": "broken", "operator": "Equal", "value": "no"}], [["b"]]),
        ([{"key": "broken", "operator": "Exists", "effect": "NoExecute"}], [["b"]]),
    ],
)
def test_taints(tolerations: list[dict[str, str]], expected: list[list[str]]) -> None:
    slices = [make_slice("s", make_device("a", taints=[TAINT]), make_device("b"))]
    claim = make_claim("c", wanted(tolerations=tolerations))
    assert got(allocate(slices, claim)) == expected


def test_a_taint_without_effect_keeps_nobody_away() -> None:
    slices = [make_slice("s", make_device("a", taints=[{"key": "x", "effect": "None"}]))]
    assert got(allocate(slices, make_claim("c", wanted()))) == [["a"]]


def test_pools() -> None:
    def part(name: str, device: str, **pool: Any) -> ResourceSlice:
        return make_slice(name, make_device(device), pool={"resourceSliceCount": 2, **pool})

    both = [part("s2", "b"), part("s1", "a")]
    assert got(allocate(both, make_claim("c", wanted(count=2)))) == [["a", "b"]]
    assert allocate(both[:1], make_claim("c", wanted())) is None  # incomplete
    with pytest.raises(AllocationFailed, match="is currently being updated"):
        allocate(both[:1], make_claim("c", wanted(allocationMode="All")))
    newer = [*both, part("s3", "x", generation=2, resourceSliceCount=1)]
    assert got(allocate(newer, make_claim("c", wanted(allocationMode="All")))) == [["x"]]
    twice = [part("s1", "a"), part("s2", "a")]
    with pytest.raises(InvalidPools):
        allocate(twice, make_claim("c", wanted()))
    with pytest.raises(AllocationFailed, match="is currently invalid"):
        allocate(twice, make_claim("c", wanted(allocationMode="All")))
    # A newer generation for another node alone makes the older one obsolete.
    away = make_slice("s3", make_device("x"), nodeName="n1", pool={"generation": 2})
    assert allocate([both[0], away], make_claim("c", wanted())) is None


ZONE_A = {
    "nodeSelectorTerms": [
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    ]
}


def test_where_devices_can_be_used_and_the_selector_of_the_allocation() -> None:
    claim = make_claim("c", wanted())
    here, there = node_info(zone="a"), node_info("n1", zone="b")
    local = allocate(GPUS, claim)
    assert local is not None
    assert local[0].nodeSelector is not None
    (term,) = local[0].nodeSelector.nodeSelectorTerms
    (field,) = term.matchFields
    assert (field.key, field.operator, field.values) == ("metadata.name", "In", ["n0"])
    assert allocate(GPUS, claim, node=there) is None
    zoned = [make_slice("s", make_device("a"), nodeSelector=ZONE_A)]
    found = allocate(zoned, claim, node=here)
    assert found is not None
    assert found[0].nodeSelector is not None
    (term,) = found[0].nodeSelector.nodeSelectorTerms
    assert [one.key for one in term.matchExpressions] == ["zone"]
    assert allocate(zoned, claim, node=there) is None
    everywhere = [make_slice("s", make_device("a"), allNodes=True)]
    found = allocate(everywhere, claim, node=there)
    assert found is not None
    assert found[0].nodeSelector is None
    each = [
        make_slice(
            "s",
            make_device("a", nodeName="n0"),
            make_device("b", nodeSelector=ZONE_A),
            make_device("c", allNodes=True),
            perDeviceNodeSelection=True,
        )
    ]
    every = make_claim("c", wanted(allocationMode="All"))
    assert got(allocate(each, every, node=here)) == [["a", "b", "c"]]
    assert got(allocate(each, every, node=there)) == [["c"]]


def test_counters_that_partitions_share() -> None:
    counters = [{"name": "gpu", "counters": {"slots": {"value": "4"}}}]

    def part(name: str, slots: int) -> dict[str, Any]:
        use = {"counterSet": "gpu", "counters": {"slots": {"value": str(slots)}}}
        return make_device(name, consumesCounters=[use])

    pool = {"resourceSliceCount": 2}
    slices = [
        make_slice("counters", sharedCounters=counters, pool=pool),
        make_slice("s", part("whole", 4), part("half-1", 2), part("half-2", 2), pool=pool),
    ]
    assert got(allocate(slices, make_claim("c", wanted()))) == [["whole"]]
    assert got(allocate(slices, make_claim("c", wanted(count=2)))) == [["half-1", "half-2"]]
    assert allocate(slices, make_claim("c", wanted(count=3))) is None
    assert got(allocate(slices, make_claim("c", wanted()), usage=used("half-1"))) == [["half-2"]]
    assert allocate(slices, make_claim("c", wanted()), usage=used("whole")) is None
    other = make_device(
        "a", consumesCounters=[{"counterSet": "no", "counters": {"slots": {"value": "1"}}}]
    )
    with pytest.raises(InvalidPools):
        allocate([slices[0], make_slice("s", other, pool=pool)], make_claim("c", wanted()))


def test_shares_of_a_device() -> None:
    policy = {"default": "1Gi", "validRange": {"min": "1Gi", "max": "8Gi", "step": "1Gi"}}
    device = make_device(
        "a",
        allowMultipleAllocations=True,
        capacity={"memory": {"value": "10Gi", "requestPolicy": policy}},
    )
    slices = [make_slice("s", device)]

    def share(amount: str) -> dict[str, Any]:
        return wanted(capacity={"requests": {"memory": amount}})

    found = allocate(slices, make_claim("c", share("1500Mi")), make_claim("d", wanted()))
    assert found is not None
    results = [one.devices.results[0] for one in found]
    assert [one.consumedCapacity for one in results] == [{"memory": "2Gi"}, {"memory": "1Gi"}]
    assert [one.shareID for one in results] == ["share", "share"]
    assert allocate(slices, make_claim("c", share("6Gi")), make_claim("d", share("5Gi"))) is None
    assert allocate(slices, make_claim("c", share("9Gi"))) is None  # beyond what may be asked for
    part_used = used("a", shareID="s", consumedCapacity={"memory": "8Gi"})
    assert allocate(slices, make_claim("c", share("3Gi")), usage=part_used) is None
    assert got(allocate(slices, make_claim("c", share("2Gi")), usage=part_used)) == [["a"]]
    unknown = wanted(capacity={"requests": {"cores": "1"}})
    assert allocate(slices, make_claim("c", unknown)) is None


def test_settings_of_the_class_and_of_the_claim() -> None:
    def opaque(name: str) -> dict[str, Any]:
        return {"driver": DRIVER, "parameters": {"name": name}}

    classes = [make_class(config=[{"opaque": opaque("class")}])]
    claim = make_claim(
        "c",
        wanted(),
        {"firstAvailable": [wanted("false", name="x"), wanted(name="y")]},
        config=[
            {"opaque": opaque("all")},
            {"opaque": opaque("r0"), "requests": ["r0"]},
            {"opaque": opaque("x"), "requests": ["r1/x"]},
            {"opaque": opaque("y"), "requests": ["r1/y"]},
        ],
    )
    found = allocate(GPUS, claim, classes=classes)
    assert found is not None
    assert [one.request for one in found[0].devices.results] == ["r0", "r1/y"]
    shown = [(one.source, list(one.requests)) for one in found[0].devices.config]
    assert shown == [
        ("FromClass", ["r0", "r1/y"]),
        ("FromClaim", []),
        ("FromClaim", ["r0"]),
        ("FromClaim", ["r1/y"]),
    ]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            wanted(deviceClassName="no"),
            (
                "claim default/c, request r0: could not retrieve device class no: "
                'deviceclass.resource.k8s.io "no" not found'
            ),
        ),
        (
            wanted(count=33),
            "claim default/c: number of requested devices 33 exceeds the claim limit of 32",
        ),
        (
            wanted('device.attributes["other.example.com"].x == 1'),
            "claim default/c: selector #0: CEL runtime error: no such key: x",
        ),
    ],
)
def test_claims_that_are_wrong(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(AllocationFailed) as failed:
        allocate(GPUS, make_claim("c", request_))
    assert str(failed.value) == message


def test_more_devices_than_a_claim_can_name_are_not_searched_for() -> None:
    devices = [make_device(f"d{number:02}") for number in range(40)]
    either = {"firstAvailable": [wanted(count=30, name="many"), wanted(count=4, name="few")]}
    found = allocate([make_slice("s", *devices)], make_claim("c", wanted(count=8), either))
    assert found is not None
    assert len(found[0].devices.results) == 12


def test_a_hostile_claim_takes_a_bounded_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ALLOCATION_STEPS, "value", 5_000)
    # No two claims can have what they want, and only trying every set of devices shows it.
    devices = [make_device(f"d{number:02}", attributes={"n": number % 9}) for number in range(24)]
    apart = {"constraints": [{"matchAttribute": f"{DRIVER}/n"}]}
    claims = [make_claim(f"c{number}", wanted(count=3), **apart) for number in range(7)]
    with pytest.raises(TookTooLong):
        allocate([make_slice("s", *devices)], *claims)


def test_too_few_devices_for_all_claims_are_found_out_without_trying_all_sets() -> None:
    devices = [make_device(f"d{number:02}") for number in range(30)]
    claims = [make_claim(f"c{number}", wanted(count=20)) for number in range(2)]
    assert allocate([make_slice("s", *devices)], *claims) is None
    enough = [make_claim(f"c{number}", wanted(count=15)) for number in range(2)]
    assert allocate([make_slice("s", *devices)], *enough) is not None


def test_many_claims_are_no_deep_recursion() -> None:
    devices = [make_device(f"d{number:04}") for number in range(280)]
    found = allocate(
        [make_slice("s", *devices)], *(make_claim(f"c{number}", wanted()) for number in range(280))
    )
    assert found is not None
    assert len({one.devices.results[0].device for one in found}) == 280
