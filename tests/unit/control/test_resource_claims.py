"""Resource claims from templates, and the end of claims that no pod uses."""

from typing import Any

import pytest
from fakes.harness import Harness
from msgspec.structs import replace

from kubelite.api.errors import Forbidden
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import (
    Pod,
    PodExtendedResourceClaimStatus,
    PodResourceClaim,
    PodResourceClaimStatus,
    PodSpec,
    PodStatus,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.resource import (
    AllocationResult,
    DeviceClaim,
    DeviceRequest,
    ExactDeviceRequest,
    ResourceClaim,
    ResourceClaimSpec,
    ResourceClaimStatus,
    ResourceClaimTemplate,
    ResourceClaimTemplateSpec,
)
from kubelite.api.machinery.resource_claims import FINALIZER, reservation_for
from kubelite.control.ownership import controller_reference
from kubelite.control.resource_claims import (
    CLAIMS,
    CREATES,
    ClaimReleaseController,
    ResourceClaimController,
    name_base,
)

SPEC = ResourceClaimSpec(
    devices=DeviceClaim(
        requests=[DeviceRequest(name="gpu", exactly=ExactDeviceRequest(deviceClassName="gpu"))]
    )
)
CONTROLLERS = (ResourceClaimController, ClaimReleaseController)


def template() -> ResourceClaimTemplate:
    meta = ObjectMeta(labels={"a": "b"}, annotations={"c": "d"})
    return ResourceClaimTemplate(
        metadata=ObjectMeta(name="one-gpu", namespace="default"),
        spec=ResourceClaimTemplateSpec(metadata=meta, spec=SPEC),
    )


def pod(name: str = "web", *, claim: str = "", node: str = "", phase: str = "Pending") -> Pod:
    entry = PodResourceClaim(name="gpu", resourceClaimTemplateName="one-gpu")
    if claim:
        entry = PodResourceClaim(name="gpu", resourceClaimName=claim)
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=PodSpec(resourceClaims=[entry], nodeName=node),
        status=PodStatus(phase=phase),
    )


def allocated(*pods: Pod, name: str = "shared", guarded: bool = True) -> ResourceClaim:
    return ResourceClaim(
        metadata=ObjectMeta(
            name=name, namespace="default", finalizers=[FINALIZER] if guarded else []
        ),
        spec=SPEC,
        status=ResourceClaimStatus(
            allocation=AllocationResult(), reservedFor=[reservation_for(one) for one in pods]
        ),
    )


async def test_a_claim_is_made_from_the_template_and_the_pods_status_names_it() -> None:
    async with Harness(*CONTROLLERS) as harness:
        await harness.client.create(template())
        created = await harness.client.create(pod())
        await harness.settle()
        (claim,) = harness.client.all(ResourceClaim)
        (after,) = harness.client.all(Pod)
    assert claim.metadata.generateName == "web-gpu-"
    assert claim.metadata.labels == {"a": "b"}
    assert claim.metadata.annotations == {"c": "d", "resource.kubernetes.io/pod-claim-name": "gpu"}
    assert claim.spec == SPEC
    (owner,) = claim.metadata.ownerReferences
    assert (owner.kind, owner.uid, owner.controller) == ("Pod", created.metadata.uid, True)
    assert after.status.resourceClaimStatuses == [
        PodResourceClaimStatus(name="gpu", resourceClaimName=claim.metadata.name)
    ]


async def test_a_pod_waits_for_its_template_and_says_so() -> None:
    async with Harness(*CONTROLLERS) as harness:
        await harness.client.create(pod())
        await harness.settle()
        assert harness.client.all(ResourceClaim) == []
        event = harness.client.all(Event)[0]
        assert (event.reason, event.message) == (
            "FailedResourceClaimCreation",
            (
                'PodResourceClaim gpu: resource claim template "one-gpu": '
                'resourceclaimtemplate.resource.k8s.io "one-gpu" not found'
            ),
        )
        await harness.client.create(template())
        await harness.settle()
        assert len(harness.client.all(ResourceClaim)) == 1


async def test_a_claim_that_the_status_does_not_name_yet_is_found_again() -> None:
    async with Harness(*CONTROLLERS) as harness:
        await harness.client.create(template())
        await harness.client.create(pod())
        await harness.settle()
        (before,) = harness.client.all(Pod)
        status = replace(before.status, resourceClaimStatuses=[])
        await harness.client.update(replace(before, status=status), "status")
        await harness.settle()
        (claim,) = harness.client.all(ResourceClaim)
        (after,) = harness.client.all(Pod)
    assert after.status.resourceClaimStatuses[0].resourceClaimName == claim.metadata.name


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_pod_that_is_over_gets_no_claim(phase: str) -> None:
    async with Harness(*CONTROLLERS) as harness:
        await harness.client.create(template())
        await harness.client.create(pod(phase=phase))
        await harness.settle()
        assert harness.client.all(ResourceClaim) == []


async def test_an_allocated_claim_is_reserved_for_a_pod_that_was_bound_by_hand() -> None:
    async with Harness(*CONTROLLERS) as harness:
        await harness.client.create(allocated())
        created = await harness.client.create(pod(claim="shared", node="node-1"))
        await harness.settle()
        (claim,) = harness.client.all(ResourceClaim)
    assert [one.uid for one in claim.status.reservedFor] == [created.metadata.uid]


async def test_a_claim_is_deallocated_with_the_end_of_its_last_pod() -> None:
    async with Harness(*CONTROLLERS) as harness:
        pods = [
            await harness.client.create(pod(name, claim="shared", node="node-1"))
            for name in ("first", "second")
        ]
        await harness.client.create(allocated(*pods))
        await harness.settle()
        status = PodStatus(phase="Succeeded")
        await harness.client.update(replace(pods[0], status=status), "status")
        await harness.settle()
        (claim,) = harness.client.all(ResourceClaim)
        assert [one.name for one in claim.status.reservedFor] == ["second"]
        assert claim.status.allocation is not None
        await harness.client.delete(Pod, "second", "default", grace_seconds=0)
        await harness.settle()
        (claim,) = harness.client.all(ResourceClaim)
        assert claim.status.allocation is None
        assert claim.status.reservedFor == []
        assert claim.metadata.finalizers == []


async def test_an_allocation_of_another_allocator_is_left_alone() -> None:
    async with Harness(*CONTROLLERS) as harness:
        user = await harness.client.create(pod(claim="shared", node="node-1"))
        await harness.client.create(allocated(user, guarded=False))
        await harness.client.delete(Pod, "web", "default", grace_seconds=0)
        await harness.settle()
        (claim,) = harness.client.all(ResourceClaim)
    assert claim.status.reservedFor == []
    assert claim.status.allocation is not None


async def test_a_claim_that_is_not_reserved_keeps_its_allocation_until_it_is_deleted() -> None:
    async with Harness(*CONTROLLERS) as harness:
        await harness.client.create(allocated())
        await harness.settle()
        (claim,) = harness.client.all(ResourceClaim)
        assert claim.status.allocation is not None
        await harness.client.delete(ResourceClaim, "shared", "default")
        await harness.settle()
        assert harness.client.all(ResourceClaim) == []


async def test_a_generated_claim_goes_with_the_end_of_its_pod() -> None:
    async with Harness(*CONTROLLERS) as harness:
        await harness.client.create(template())
        await harness.client.create(pod())
        await harness.settle()
        (before,) = harness.client.all(Pod)
        status = replace(before.status, phase="Succeeded")
        await harness.client.update(replace(before, status=status), "status")
        await harness.settle()
        assert harness.client.all(ResourceClaim) == []


@pytest.mark.parametrize(
    ("pod_name", "claim_name", "base"),
    [
        ("web", "gpu", "web-gpu-"),
        ("p" * 55, "c" * 5, "p" * 50 + "-" + "c" * 4),
        ("p" * 60, "c" * 60, "p" * 28 + "-" + "c" * 28),
    ],
)
def test_long_names_are_cut_by_their_share(pod_name: str, claim_name: str, base: str) -> None:
    assert name_base(pod_name, claim_name) == base
    assert len(base) <= 57


def for_extended_resources(owner: Pod) -> ResourceClaim:
    claim = allocated(owner, name="web-extended-resources-x")
    meta = replace(
        claim.metadata,
        annotations={"resource.kubernetes.io/extended-resource-claim": "true"},
        ownerReferences=[controller_reference(owner)],
    )
    return replace(claim, metadata=meta)


async def test_the_claim_for_extended_resources_goes_with_the_end_of_its_pod() -> None:
    async with Harness(*CONTROLLERS) as harness:
        plain = Pod(
            metadata=ObjectMeta(name="web", namespace="default"), spec=PodSpec(nodeName="n")
        )
        made = await harness.client.create(plain)
        claim = await harness.client.create(for_extended_resources(made))
        named = PodExtendedResourceClaimStatus(resourceClaimName=claim.metadata.name)
        running = PodStatus(phase="Running", extendedResourceClaimStatus=named)
        made = await harness.client.update(replace(made, status=running), "status")
        await harness.settle()
        assert [one.status.allocation is not None for one in harness.client.all(ResourceClaim)] == [
            True
        ]
        over = replace(running, phase="Succeeded")
        await harness.client.update(replace(made, status=over), "status")
        await harness.settle()
        assert harness.client.all(ResourceClaim) == []


async def test_claims_are_counted_by_what_they_are_made_from() -> None:
    success, failure = CREATES.labelled("success", "false"), CREATES.labelled("failure", "false")
    before = success.value, failure.value
    async with Harness(*CONTROLLERS) as harness:
        await harness.client.create(template())
        owner = await harness.client.create(pod())
        await harness.client.create(allocated())
        await harness.client.create(for_extended_resources(owner))
        admin = allocated(name="admin")
        (request,) = SPEC.devices.requests
        asked = ExactDeviceRequest(deviceClassName="gpu", adminAccess=True)
        devices = DeviceClaim(requests=[replace(request, exactly=asked)])
        spec = ResourceClaimSpec(devices=devices)
        await harness.client.create(replace(admin, spec=spec))
        await harness.settle()
        assert CLAIMS.read is not None
        assert sorted(CLAIMS.read()) == [
            (("false", "false", "resource_claim_template"), 1.0),
            (("true", "false", ""), 1.0),
            (("true", "false", "extended_resource"), 1.0),
            (("true", "true", ""), 1.0),
        ]
        create = harness.client.create

        async def failing(item: Any) -> Any:
            if isinstance(item, ResourceClaim):
                raise Forbidden("exceeded quota")
            return await create(item)

        harness.client.create = failing  # type: ignore[method-assign]  # the failure
        await create(pod("other"))
        await harness.settle()
        assert failure.value > before[1]
    assert success.value == before[0] + 1
    assert CLAIMS.read is None
