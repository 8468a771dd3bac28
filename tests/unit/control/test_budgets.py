import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.custom_resources import serve_gadgets
from fakes.harness import Harness
from fakes.real_harness import RealHarness
from fakes.static_resources import StaticResources
from fakes.widgets import Widget
from msgspec.structs import replace
from simulation.simulated_loop import simulated

from kubelite.api.kinds.apps import ReplicaSet, ReplicaSetSpec
from kubelite.api.kinds.batch import Job, JobCondition, JobSpec, JobStatus
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.containers import Container, ResourceRequirements
from kubelite.api.kinds.core.pods import Pod, PodCondition, PodSpec, PodStatus
from kubelite.api.kinds.core.quota import ResourceQuota, ResourceQuotaSpec
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta, OwnerReference
from kubelite.api.kinds.policy import (
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
)
from kubelite.control.disruption import DisruptionController, status_of, wanted_healthy
from kubelite.control.options import Options, Resource
from kubelite.control.ownership import controller_reference
from kubelite.control.resource_quota import ResourceQuotaController
from kubelite.control.ttl_after_finished import TTLAfterFinishedController

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = {"app": "web"}


def budget(**spec: int | str) -> PodDisruptionBudget:
    return PodDisruptionBudget(
        metadata=ObjectMeta(name="b", namespace="default", generation=1),
        spec=PodDisruptionBudgetSpec(
            selector=LabelSelector(matchLabels=LABELS),
            **spec,  # type: ignore[arg-type]
        ),
    )


def pod(name: str, *, ready: bool = True) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", labels=LABELS),
        spec=PodSpec(
            containers=[
                Container(
                    name="c", image="i", resources=ResourceRequirements(requests={"cpu": "250m"})
                )
            ]
        ),
        status=PodStatus(
            conditions=[PodCondition(type="Ready", status="True" if ready else "False")]
        ),
    )


@pytest.mark.parametrize(
    ("spec", "expected", "healthy"),
    [
        ({"minAvailable": 2}, 5, 2),
        ({"minAvailable": "50%"}, 5, 3),
        ({"maxUnavailable": 1}, 5, 4),
        ({"maxUnavailable": "30%"}, 5, 3),
        ({"maxUnavailable": 9}, 5, 0),
    ],
)
def test_how_many_must_stay(spec: dict[str, int | str], expected: int, healthy: int) -> None:
    assert wanted_healthy(budget(**spec), expected) == healthy


def test_granted_evictions_count_as_gone_for_two_minutes() -> None:
    fresh = PodDisruptionBudgetStatus(
        disruptedPods={
            "a": "2025-12-31T23:59:00Z",
            "b": "2025-12-31T23:50:00Z",
            "x": "2026-01-01T00:00:00Z",
        }
    )
    made = budget(minAvailable=1)
    one = PodDisruptionBudget(metadata=made.metadata, spec=made.spec, status=fresh)
    status = status_of(one, [pod("a"), pod("b"), pod("c", ready=False)], 3, NOW)
    assert list(status.disruptedPods) == ["a"]
    assert (status.currentHealthy, status.disruptionsAllowed) == (1, 0)


async def test_a_budget_asks_the_owner_how_many_are_wanted() -> None:
    async with Harness(DisruptionController) as harness:
        client = harness.client
        owner = await client.create(
            ReplicaSet(
                metadata=ObjectMeta(name="rs", namespace="default"), spec=ReplicaSetSpec(replicas=4)
            )
        )
        for name in ("a", "b", "c"):
            made = pod(name)
            metadata = ObjectMeta(
                name=name,
                namespace="default",
                labels=LABELS,
                ownerReferences=[controller_reference(owner)],
            )
            await client.create(Pod(metadata=metadata, spec=made.spec, status=made.status))
        await client.create(budget(maxUnavailable=2))
        await harness.settle()
        (current,) = client.all(PodDisruptionBudget)
        status = current.status
        assert (status.expectedPods, status.desiredHealthy, status.disruptionsAllowed) == (4, 2, 1)
        await client.patch(ReplicaSet, "rs", {"spec": {"replicas": 3}}, "default")
        await harness.settle()
        assert client.all(PodDisruptionBudget)[0].status.disruptionsAllowed == 2


async def test_nobody_may_leave_while_an_owner_of_unknown_size_has_pods() -> None:
    async with Harness(DisruptionController) as harness:
        client = harness.client
        job = await client.create(Job(metadata=ObjectMeta(name="j", namespace="default")))
        for name in ("a", "b"):
            one = pod(name)
            one.metadata.ownerReferences.append(controller_reference(job))
            await client.create(one)
        await client.create(budget(maxUnavailable=1))
        await harness.settle()
        (found,) = client.all(PodDisruptionBudget)
        assert found.status.disruptionsAllowed == 0
        (condition,) = found.status.conditions
        assert (condition.status, condition.reason) == ("False", "SyncFailed")
        assert condition.message == 'found no controllers for pod "a"'


async def budget_of_gadget(harness: RealHarness, size: Any, **spec: Any) -> PodDisruptionBudget:
    """Let four ready pods belong to a custom object of some size; return their budget."""
    server = harness.server
    serve_gadgets(server)
    metadata = {"name": "g", "namespace": "default"}
    body = {"metadata": metadata, "spec": {} if size is None else {"size": size}}
    owner = await server.create("example.com/v1/gadgets", body)
    await pods_of(harness, owner)
    await server.client.create(budget(**spec))
    await harness.settle()
    return await server.client.get(PodDisruptionBudget, "b", "default")


async def pods_of(harness: RealHarness, owner: dict[str, Any]) -> None:
    client = harness.server.client
    reference = OwnerReference(
        apiVersion=owner["apiVersion"],
        kind=owner["kind"],
        name=owner["metadata"]["name"],
        uid=owner["metadata"]["uid"],
        controller=True,
    )
    for name in ("a", "b", "c", "d"):
        one = pod(name)
        one.metadata.ownerReferences.append(reference)
        created = await client.create(one)
        await client.update(replace(created, status=one.status), "status")


@pytest.mark.parametrize(
    ("spec", "allowed"), [({"minAvailable": "50%"}, 1), ({"maxUnavailable": "50%"}, 1)]
)
async def test_a_percentage_is_of_the_size_of_a_custom_controller(
    spec: dict[str, str], allowed: int
) -> None:
    async with RealHarness(DisruptionController) as harness:
        status = (await budget_of_gadget(harness, 6, **spec)).status
        assert (status.expectedPods, status.desiredHealthy, status.currentHealthy) == (6, 3, 4)
        assert status.disruptionsAllowed == allowed


async def test_a_scale_that_cannot_be_read_allows_no_disruption() -> None:
    async with RealHarness(DisruptionController) as harness:
        status = (await budget_of_gadget(harness, None, minAvailable="50%")).status
        assert status.disruptionsAllowed == 0
        (condition,) = status.conditions
        assert condition.reason == "SyncFailed"
        assert 'the spec replicas field ".spec.size" does not exist' in condition.message


async def test_pods_of_a_controller_without_a_scale_may_not_be_disrupted() -> None:
    async with RealHarness(DisruptionController) as harness:
        owner = await harness.server.create(
            "v1/configmaps", {"metadata": {"name": "m", "namespace": "default"}}
        )
        await pods_of(harness, owner)
        await harness.server.client.create(budget(minAvailable="50%"))
        await harness.settle()
        status = (await harness.server.client.get(PodDisruptionBudget, "b", "default")).status
        (condition,) = status.conditions
        assert (status.disruptionsAllowed, condition.reason) == (0, "SyncFailed")
        assert condition.message == "configmaps does not implement the scale subresource"


async def test_pods_of_a_custom_controller_are_expected_by_its_scale() -> None:
    async with Harness(DisruptionController) as harness:
        client = harness.client
        client.serve(Widget, "widgets")
        widget = await client.create(
            Widget(metadata=ObjectMeta(name="w", namespace="default"), spec={"replicas": 4})
        )
        for name in ("a", "b", "c", "d"):
            one = pod(name)
            one.metadata.ownerReferences.append(controller_reference(widget))
            await client.create(one)
        await client.create(budget(maxUnavailable=1))
        await harness.settle()
        (found,) = client.all(PodDisruptionBudget)
        status = found.status
        assert (status.expectedPods, status.desiredHealthy, status.disruptionsAllowed) == (4, 3, 1)
        # One of the same name that came later has other pods.
        await client.delete(Widget, "w", "default")
        await client.create(
            Widget(metadata=ObjectMeta(name="w", namespace="default"), spec={"replicas": 4})
        )
        await client.patch(Pod, "a", {"metadata": {"labels": {"other": "label"}}}, "default")
        await harness.settle()
        (found,) = client.all(PodDisruptionBudget)
        assert found.status.disruptionsAllowed == 0


async def test_a_quota_counts_again_when_pods_go() -> None:
    pods = Resource("", "v1", "pods", "Pod", True)
    options = Options(resources=StaticResources((pods,)))
    async with Harness(ResourceQuotaController, options=options) as harness:
        client = harness.client
        for name in ("a", "b"):
            await client.create(pod(name))
        await client.create(
            ResourceQuota(
                metadata=ObjectMeta(name="q", namespace="default"),
                spec=ResourceQuotaSpec(hard={"pods": "5", "requests.cpu": "2", "count/pods": "9"}),
            )
        )
        await harness.settle()
        (quota,) = client.all(ResourceQuota)
        assert quota.status.used == {"count/pods": "2", "pods": "2", "requests.cpu": "500m"}
        await client.delete(Pod, "a", "default")
        await harness.settle()
        (quota,) = client.all(ResourceQuota)
        assert quota.status.used == {"count/pods": "1", "pods": "1", "requests.cpu": "250m"}


async def test_a_quota_counts_again_when_what_it_only_counts_goes() -> None:
    secrets = Resource("", "v1", "secrets", "Secret", True)
    options = Options(resources=StaticResources((secrets,)))
    async with Harness(ResourceQuotaController, options=options) as harness:
        client = harness.client
        client.dynamic["", "v1", "secrets"] = Secret
        await client.create(
            ResourceQuota(
                metadata=ObjectMeta(name="q", namespace="default"),
                spec=ResourceQuotaSpec(hard={"secrets": "5"}),
            )
        )
        await client.create(Secret(metadata=ObjectMeta(name="s", namespace="default")))
        await harness.settle()
        assert client.all(ResourceQuota)[0].status.used == {"secrets": "1"}
        await client.delete(Secret, "s", "default")
        await harness.settle()
        assert client.all(ResourceQuota)[0].status.used == {"secrets": "0"}


@simulated
async def test_ended_jobs_go_after_their_time() -> None:
    async with Harness(TTLAfterFinishedController) as harness:
        ended = JobCondition(
            type="Complete", status="True", lastTransitionTime="2026-01-01T00:00:00Z"
        )
        for name, ttl in (("quick", 60), ("kept", None)):
            await harness.client.create(
                Job(
                    metadata=ObjectMeta(name=name, namespace="default"),
                    spec=JobSpec(ttlSecondsAfterFinished=ttl),
                    status=JobStatus(conditions=[ended]),
                )
            )
        await asyncio.sleep(59)
        harness.clock.advance(61)
        await asyncio.sleep(2)
        quick, kept = sorted(
            harness.client.all(Job), key=lambda job: job.metadata.name, reverse=True
        )
        assert quick.metadata.deletionTimestamp is not None
        assert kept.metadata.deletionTimestamp is None
