"""Rules of a resource claim's status."""

from typing import Any

import pytest
from fakes.rule_samples import changed, lines

from kubelite.api.registry.rules import device_claim_status as rules

UID = "6f1b4d2a-0c5e-4a39-9a53-0d4b1c2d3e4f"
USER = {"resource": "pods", "name": "p", "uid": "1"}
RESULT = {"request": "gpu", "driver": "x.io", "pool": "n", "device": "d"}
DEVICE = {"driver": "x.io", "pool": "n", "device": "d"}
CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Up",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def claim(**status: Any) -> dict[str, Any]:
    request = {"name": "gpu", "exactly": {"deviceClassName": "c"}}
    return {"metadata": {}, "spec": {"devices": {"requests": [request]}}, "status": status}


ALLOCATION = {"devices": {"results": [RESULT]}}
FREE = claim()
GIVEN = claim(allocation=ALLOCATION, reservedFor=[USER], devices=[DEVICE])


def found(new: dict[str, Any], old: dict[str, Any] = FREE) -> list[str]:
    return lines(rules.resource_claim_status(new, old))


def test_a_valid_status_has_no_causes() -> None:
    assert found(GIVEN) == []
    data = {"a": 1}
    network = {"interfaceName": "eth0", "ips": ["10.0.0.1/24", "2001:db8::1/64"]}
    told = [{**DEVICE, "conditions": [CONDITION], "data": data, "networkData": network}]
    assert found(changed(GIVEN, "status.devices", told), GIVEN) == []


def test_users_need_an_allocation() -> None:
    problem = "may not be specified when `allocated` is not set"
    assert found(claim(reservedFor=[USER])) == [f"status.reservedFor: Forbidden: {problem}"]


def test_a_claim_that_is_deleted_takes_no_new_users() -> None:
    leaving = changed(GIVEN, "metadata.deletionTimestamp", "2026-01-01T00:00:00Z")
    assert found(leaving, GIVEN) == []
    more = changed(leaving, "status.reservedFor", [USER, {**USER, "uid": "2"}])
    problem = (
        "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
    )
    assert found(more, GIVEN) == [f"status.reservedFor: Forbidden: {problem}"]


def test_users_are_whole_and_named_once() -> None:
    users = [USER, USER, {"uid": "2"}]
    assert found(changed(GIVEN, "status.reservedFor", users), GIVEN) == [
        "status.reservedFor[2].resource: Required value",
        "status.reservedFor[2].name: Required value",
        'status.reservedFor[1]: Duplicate value: "1"',
    ]
    many = [{**USER, "uid": str(number)} for number in range(257)]
    assert found(changed(GIVEN, "status.reservedFor", many), GIVEN) == [
        "status.reservedFor: Too many: 257: must have at most 256 items"
    ]


def test_an_allocation_is_immutable_and_may_be_taken_back() -> None:
    other = changed(GIVEN, "status.allocation.devices.results.0.pool", "m")
    assert found(changed(other, "status.devices", []), GIVEN)[0].endswith("field is immutable")
    assert found(FREE, GIVEN) == []


AT = "status.allocation.devices"


@pytest.mark.parametrize(
    ("allocation", "path"),
    [
        ({"results": [{**RESULT, "request": "other"}]}, f"{AT}.results[0].request"),
        ({"results": [{**RESULT, "driver": ""}]}, f"{AT}.results[0].driver"),
        ({"results": [{**RESULT, "pool": "a//b"}]}, f"{AT}.results[0].pool"),
        ({"results": [{**RESULT, "device": "D"}]}, f"{AT}.results[0].device"),
        ({"results": [RESULT] * 33}, f"{AT}.results"),
        ({"results": [{**RESULT, "shareID": "x"}]}, f"{AT}.results[0].shareID"),
        ({"config": [{"opaque": {"driver": "x.io", "parameters": {}}}]}, f"{AT}.config[0].source"),
        ({"config": [{"source": "FromClaim", "requests": ["no"],
                      "opaque": {"driver": "x.io", "parameters": {}}}]},
         f"{AT}.config[0].requests[0]"),
    ],
)  # fmt: skip
def test_allocations(allocation: dict[str, Any], path: str) -> None:
    causes = rules.resource_claim_status(claim(allocation={"devices": allocation}), FREE)
    assert [cause.path for cause in causes] == [path]


@pytest.mark.parametrize(
    ("share", "problem"),
    [
        (UID, ""),
        ("abc", "error validating uid: invalid UUID length: 3"),
        (UID.replace("a", "g"), "error validating uid: invalid UUID format"),
        (UID.upper(), ("uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` "
                      "with lowercase hexadecimal characters")),
    ],
)  # fmt: skip
def test_shares_are_uids(share: str, problem: str) -> None:
    allocation = {"devices": {"results": [{**RESULT, "shareID": share}]}}
    lines_ = found(claim(allocation=allocation))
    assert lines_ == (
        [f'{AT}.results[0].shareID: Invalid value: "{share}": {problem}'] if problem else []
    )


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ({**DEVICE, "device": "e"},
         ['status.devices[0]: Invalid value: "x.io/n/e": must be an allocated device in the claim']),
        ({**DEVICE, "conditions": [CONDITION, CONDITION]},
         ['status.devices[0].conditions[1].type: Duplicate value: "Ready"']),
        ({**DEVICE, "conditions": [{**CONDITION, "status": "Maybe"}]},
         [('status.devices[0].conditions[0].status: Unsupported value: "Maybe": supported values: '
          '"False", "True", "Unknown"')]),
        ({**DEVICE, "data": [1]},
         ['status.devices[0].data: Invalid value: "<value omitted>": must be a valid JSON object']),
        ({**DEVICE, "networkData": {"interfaceName": "x" * 257}},
         ["status.devices[0].networkData.interfaceName: Too long: may not be more than 256 bytes"]),
        ({**DEVICE, "networkData": {"ips": ["10.0.0.1", "2001:DB8::1/64", "10.0.0.1/24", "10.0.0.1/24"]}},
         [('status.devices[0].networkData.ips[0]: Invalid value: "10.0.0.1": must be a valid address in CIDR '
          "form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"),
          ('status.devices[0].networkData.ips[1]: Invalid value: "2001:DB8::1/64": must be in canonical form '
          '("2001:db8::1/64")'),
          'status.devices[0].networkData.ips[3]: Duplicate value: "10.0.0.1/24"']),
    ],
)  # fmt: skip
def test_what_drivers_say(device: dict[str, Any], expected: list[str]) -> None:
    assert found(changed(GIVEN, "status.devices", [device]), GIVEN) == expected
