"""What resource claims use of quotas."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kubelite.api.machinery.device_quota import Surroundings, first_claims
from kubelite.api.machinery.quota import matching, usage, written

NOW = datetime(2026, 9, 1, tzinfo=UTC)
GPU = "requests.example.com/gpu"
IMPLICIT = "requests.deviceclass.resource.kubernetes.io/gpu"
COUNT = {"count/resourceclaims.resource.k8s.io": "1"}
DEVICES = "gpu.deviceclass.resource.k8s.io/devices"


def exactly(count: int | None = 1, name: str = "gpu", **fields: Any) -> dict[str, Any]:
    mode = {"allocationMode": "ExactCount", "count": count} if count else {"allocationMode": "All"}
    return {"deviceClassName": name, **mode, **fields}


def claim(*requests: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "c", **meta},
        "spec": {"devices": {"requests": [{"name": "r", **one} for one in requests]}},
    }


def extended(*requests: dict[str, Any], uid: str = "u", **meta: Any) -> dict[str, Any]:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": True}
    annotations = {"resource.kubernetes.io/extended-resource-claim": "true"}
    return claim(*requests, ownerReferences=[owner], annotations=annotations, **meta)


def pod(count: str, claim_name: str = "") -> dict[str, Any]:
    resources = {"requests": {"example.com/gpu": count}}
    named = {"extendedResourceClaimStatus": {"resourceClaimName": claim_name}} if claim_name else {}
    return {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": [{"name": "c", "resources": resources}]},
        "status": named,
    }


def used(
    item: dict[str, Any],
    resources: dict[str, str] | None = None,
    pods: dict[str, Any] | None = None,
    first: dict[str, str] | None = None,
) -> dict[str, str]:
    around = Surroundings(
        lambda name: (resources or {}).get(name, ""),
        (pods or {}).get,
        lambda uid: (first or {}).get(uid, ""),
    )
    return written(usage("resourceclaims", "resource.k8s.io", item, NOW, around))


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ([], {}),
        ([{"exactly": exactly(2)}, {"exactly": exactly(1)}], {DEVICES: "3"}),
        ([{"exactly": exactly(None)}], {DEVICES: "32"}),
        (
            [{"firstAvailable": [exactly(2), exactly(4), exactly(1, "nic")]}],
            {DEVICES: "4", "nic.deviceclass.resource.k8s.io/devices": "1"},
        ),
        ([{"exactly": {**exactly(2), "allocationMode": "Other"}}], {DEVICES: "0"}),
        ([{"unknown": {}}], {}),
    ],
)
def test_devices_count_by_class(requests: list[dict[str, Any]], expected: dict[str, str]) -> None:
    assert used(claim(*requests)) == COUNT | expected


def test_devices_count_as_the_resource_that_their_class_names() -> None:
    by_name = {DEVICES: "2", GPU: "2", IMPLICIT: "2"}
    named = {"gpu": "example.com/gpu"}
    assert used(claim({"exactly": exactly(2)}), named) == COUNT | by_name
    assert used(claim({"exactly": exactly(2)})) == COUNT | {DEVICES: "2"}


@pytest.mark.parametrize(
    ("known", "first", "more"),
    [
        ("c", {}, "1"),  # three devices, of which the pod counts for two
        ("", {}, "1"),
        ("", {"u": "c"}, "1"),
        ("other", {}, "3"),
        ("", {"u": "other"}, "3"),  # whoever makes a second claim in the pod's name pays for it
    ],
)
def test_the_claim_of_a_pod_counts_for_what_the_pod_does_not(
    known: str, first: dict[str, str], more: str
) -> None:
    named, pods = {"gpu": "example.com/gpu"}, {"p": pod("2", known)}
    mine = extended({"exactly": exactly(3)})
    assert used(mine, named, pods, first)[GPU] == more
    assert used(mine, named, pods, first)[IMPLICIT] == "3"
    covered = extended({"exactly": exactly(2)})
    assert (GPU in used(covered, named, pods, first)) == (more == "3")


@pytest.mark.parametrize(
    "item", [claim({"exactly": exactly(2)}), extended({"exactly": exactly(2)}, uid="v")]
)
def test_other_claims_count_beside_the_pod(item: dict[str, Any]) -> None:
    assert used(item, {"gpu": "example.com/gpu"}, {"p": pod("2")})[GPU] == "2"


def test_the_first_claim_of_a_pod_is_the_oldest() -> None:
    old, new = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    claims = [
        extended(name="b", creationTimestamp=new),
        extended(name="z", creationTimestamp=old),
        extended(name="y", creationTimestamp=old),
        extended(name="a", uid="v", creationTimestamp=new),
        claim(name="0"),
    ]
    assert first_claims(claims) == {"u": "y", "v": "a"}


def test_which_names_of_a_quota_claims_may_use() -> None:
    hard = [*COUNT, DEVICES, GPU, IMPLICIT, "requests.cpu", "pods", "requests.storage"]
    assert matching("resourceclaims", "resource.k8s.io", hard) == [*COUNT, DEVICES, GPU, IMPLICIT]
    assert matching("resourceclaims", "example.com", hard) == []
