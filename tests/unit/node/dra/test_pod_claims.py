"""Which claims a pod has, who may use them, and what containers want of them."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import ResourceClaim
from kubelite.node.devices.protocol import AllocationFailed
from kubelite.node.dra.pod_claims import PodClaim, check, drivers_of, pod_claims, requests_of

NAMED = {"name": "gpu", "resourceClaimName": "shared"}
MADE = {"name": "nic", "resourceClaimTemplateName": "template"}


def pod(*entries: dict[str, str], status: dict[str, Any] | None = None, **container: Any) -> Pod:
    body = {
        "metadata": {"name": "pod", "namespace": "default", "uid": "p1"},
        "spec": {
            "containers": [{"name": "app", "resources": container}],
            "resourceClaims": list(entries),
        },
        "status": status or {},
    }
    return msgspec.convert(body, Pod)


def claim(
    owner: str = "", reserved: str = "p1", drivers: tuple[str, ...] = ("d",)
) -> ResourceClaim:
    owners = [{"controller": True, "uid": owner, "name": "pod", "kind": "Pod", "apiVersion": "v1"}]
    results = [{"driver": one, "pool": "p", "device": "0", "request": "r"} for one in drivers]
    body = {
        "metadata": {
            "name": "c",
            "namespace": "default",
            "uid": "c1",
            "ownerReferences": owners if owner else [],
        },
        "status": {
            "reservedFor": [{"resource": "pods", "name": "pod", "uid": reserved}],
            "allocation": {"devices": {"results": results}},
        },
    }
    return msgspec.convert(body, ResourceClaim)


def test_the_claims_of_a_pod_are_named_by_its_spec_and_status() -> None:
    made = {"resourceClaimStatuses": [{"name": "nic", "resourceClaimName": "pod-nic-x"}]}
    assert pod_claims(pod(NAMED, MADE, status=made)) == [
        PodClaim("gpu", "shared"),
        PodClaim("nic", "pod-nic-x", is_own=True),
    ]
    none_needed = {"resourceClaimStatuses": [{"name": "nic"}]}
    assert pod_claims(pod(MADE, status=none_needed)) == []


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (MADE, 'pod "default/pod": ResourceClaim not created yet'),
        (
            {"name": "x"},
            'pod "default/pod", spec.resourceClaim "x": none of the supported fields are set',
        ),
    ],
)
def test_a_claim_that_is_not_there_is_waited_for(entry: dict[str, str], message: str) -> None:
    with pytest.raises(AllocationFailed) as failed:
        pod_claims(pod(entry))
    assert str(failed.value) == message


@pytest.mark.parametrize(
    ("found", "is_own", "message"),
    [
        (claim("p1"), True, ""),
        (claim(), False, ""),
        (
            claim("p2"),
            True,
            "ResourceClaim default/c was not created for pod default/pod (pod is not owner)",
        ),
        (
            claim(reserved="p2"),
            False,
            "pod pod (p1) is not allowed to use ResourceClaim c (c1)",
        ),
        (
            msgspec.structs.replace(
                claim(), status=msgspec.structs.replace(claim().status, allocation=None)
            ),
            False,
            "ResourceClaim c: not allocated",
        ),
    ],
)
def test_a_claim_must_be_the_pods_and_allocated(
    found: ResourceClaim, is_own: bool, message: str
) -> None:
    entry = PodClaim("gpu", "c", is_own)
    if not message:
        check(pod(), entry, found)
        return
    with pytest.raises(AllocationFailed) as failed:
        check(pod(), entry, found)
    assert str(failed.value) == message


def test_each_driver_counts_once() -> None:
    assert drivers_of(claim(drivers=("b", "a", "b"))) == ["a", "b"]


def test_a_container_wants_requests_of_claims() -> None:
    wishes = [{"name": "gpu"}, {"name": "nic", "request": "fast"}, {"name": "nic", "request": "b"}]
    made = {"resourceClaimStatuses": [{"name": "nic", "resourceClaimName": "pod-nic-x"}]}
    asks = pod(NAMED, MADE, status=made, claims=wishes)
    (container,) = asks.spec.containers
    assert requests_of(asks, container) == {"shared": [""], "pod-nic-x": ["fast", "b"]}
    other = pod(NAMED)
    assert requests_of(other, other.spec.containers[0]) == {}


def test_extended_resources_are_served_by_a_claim_of_their_own() -> None:
    names = ["example.com/gpu", "deviceclass.resource.kubernetes.io/gpu", "cpu", "example.com/no"]
    mappings = [
        {"containerName": "app", "resourceName": name, "requestName": f"r{number}"}
        for number, name in enumerate(names)
    ]
    mappings.append({**mappings[0], "containerName": "other"})
    status = {
        "extendedResourceClaimStatus": {
            "resourceClaimName": "extended",
            "requestMappings": mappings,
        }
    }
    amounts = dict.fromkeys(names, "1") | {"example.com/no": "0"}
    asks = pod(status=status, requests=amounts)
    assert pod_claims(asks) == [PodClaim("", "extended")]
    assert requests_of(asks, asks.spec.containers[0]) == {"extended": ["r0", "r1"]}
