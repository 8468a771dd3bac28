"""No step of a controller holds the loop for long: what a plan costs is said before, and follows what it looks at."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.harness import Harness
from fakes.static_resources import StaticResources
from msgspec.structs import replace

from kubelite.api.kinds.apps import (
    DaemonSet,
    DaemonSetSpec,
    Deployment,
    DeploymentSpec,
    ReplicaSet,
    ReplicaSetSpec,
    StatefulSet,
    StatefulSetSpec,
)
from kubelite.api.kinds.batch import Job, JobSpec, JobStatus
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.containers import Container, ContainerPort
from kubelite.api.kinds.core.endpoints import EndpointAddress, Endpoints, EndpointSubset
from kubelite.api.kinds.core.namespaces import Namespace, NamespaceSpec
from kubelite.api.kinds.core.pods import Pod, PodIP, PodSpec, PodStatus, PodTemplateSpec
from kubelite.api.kinds.core.quota import ResourceQuota, ResourceQuotaSpec
from kubelite.api.kinds.core.services import Service, ServicePort, ServiceSpec
from kubelite.api.kinds.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta
from kubelite.api.kinds.model import Kind
from kubelite.api.kinds.policy import PodDisruptionBudget, PodDisruptionBudgetSpec
from kubelite.api.kinds.rbac import AggregationRule, ClusterRole, PolicyRule
from kubelite.control import statefulset
from kubelite.control.cluster_role_aggregation import ClusterRoleAggregationController
from kubelite.control.daemonset import DaemonSetController
from kubelite.control.deployment import DeploymentController, new_annotations
from kubelite.control.disruption import DisruptionController
from kubelite.control.endpoints import EndpointsController
from kubelite.control.endpointslice import EndpointSliceController
from kubelite.control.endpointslice_mirroring import EndpointSliceMirroringController
from kubelite.control.job import JobController
from kubelite.control.namespace import NamespaceController
from kubelite.control.options import Options, Resource
from kubelite.control.ownership import controller_reference
from kubelite.control.replicaset import ReplicaSetController
from kubelite.control.resource_quota import ResourceQuotaController
from kubelite.control.service_pods import TargetPorts
from kubelite.control.statefulset import StatefulSetController

LABELS = {"app": "web"}
SELECTOR = LabelSelector(matchLabels=LABELS)
META = ObjectMeta(name="one", namespace="default", uid="one", labels=LABELS)
TEMPLATE = PodTemplateSpec(
    metadata=ObjectMeta(labels=LABELS), spec=PodSpec(containers=[Container(name="c", image="i")])
)


def pods(owner: Any, count: int) -> list[Kind]:
    references = [controller_reference(owner)] if owner is not None else []
    return [
        Pod(
            metadata=ObjectMeta(
                name=f"one-{number}",
                namespace="default",
                uid=f"p{number}",
                labels=LABELS,
                ownerReferences=references,
            ),
            spec=TEMPLATE.spec,
            status=PodStatus(
                phase="Running", podIPs=[PodIP(ip=f"10.42.{number // 256}.{number % 256}")]
            ),
        )
        for number in range(count)
    ]


def replica_set(count: int) -> list[Kind]:
    owner = ReplicaSet(
        metadata=META, spec=ReplicaSetSpec(replicas=count, selector=SELECTOR, template=TEMPLATE)
    )
    return [owner, *pods(owner, count)]


def stateful_set(count: int) -> list[Kind]:
    owner = StatefulSet(
        metadata=META, spec=StatefulSetSpec(replicas=count, selector=SELECTOR, template=TEMPLATE)
    )
    return [owner, *pods(owner, count)]


def job(count: int) -> list[Kind]:
    owner = Job(
        metadata=META,
        spec=JobSpec(
            parallelism=count, completions=2 * count, selector=SELECTOR, template=TEMPLATE
        ),
    )
    return [owner, *pods(owner, count)]


def job_of_indexes(count: int) -> list[Kind]:
    done = ",".join(str(2 * number) for number in range(count))
    spec = JobSpec(
        parallelism=0,
        completions=2 * count,
        completionMode="Indexed",
        selector=SELECTOR,
        template=TEMPLATE,
    )
    return [Job(metadata=META, spec=spec, status=JobStatus(completedIndexes=done))]


def deployment(count: int) -> list[Kind]:
    owner = Deployment(
        metadata=META, spec=DeploymentSpec(replicas=0, selector=SELECTOR, template=TEMPLATE)
    )
    old = [
        ReplicaSet(
            metadata=ObjectMeta(
                name=f"one-{number}",
                namespace="default",
                uid=f"r{number}",
                labels=LABELS,
                ownerReferences=[controller_reference(owner)],
            ),
            spec=ReplicaSetSpec(replicas=0, selector=SELECTOR, template=TEMPLATE),
        )
        for number in range(count)
    ]
    return [owner, *old]


def daemon_set(count: int) -> list[Kind]:
    owner = DaemonSet(metadata=META, spec=DaemonSetSpec(selector=SELECTOR, template=TEMPLATE))
    return [owner, *pods(owner, count)]


def budget(count: int) -> list[Kind]:
    spec = PodDisruptionBudgetSpec(minAvailable=1, selector=SELECTOR)
    return [PodDisruptionBudget(metadata=META, spec=spec), *pods(None, count)]


def service(count: int) -> list[Kind]:
    spec = ServiceSpec(
        selector=LABELS, clusterIP="10.43.0.7", ipFamilies=["IPv4"], ports=[ServicePort(port=80)]
    )
    return [Service(metadata=META, spec=spec), *pods(None, count)]


def endpoints(count: int) -> list[Kind]:
    addresses = [EndpointAddress(ip=f"10.0.{n // 256}.{n % 256}") for n in range(count)]
    return [
        Service(metadata=META, spec=ServiceSpec(clusterIP="10.43.0.7")),
        Endpoints(metadata=META, subsets=[EndpointSubset(addresses=addresses)]),
    ]


def quota(count: int) -> list[Kind]:
    limits = ResourceQuotaSpec(hard={"pods": "10", "requests.cpu": "1"})
    return [ResourceQuota(metadata=META, spec=limits), *pods(None, count)]


def roles(count: int) -> list[Kind]:
    rule = AggregationRule(clusterRoleSelectors=[SELECTOR])
    rules = [PolicyRule(verbs=["get"], resources=[f"r{number}"]) for number in range(50)]
    return [
        ClusterRole(metadata=ObjectMeta(name="all", uid="all"), aggregationRule=rule),
        *(
            ClusterRole(metadata=ObjectMeta(name=f"r{n}", uid=f"r{n}", labels=LABELS), rules=rules)
            for n in range(count)
        ),
    ]


RESOURCES = (
    Resource("", "v1", "pods", "Pod", True),
    Resource("", "v1", "configmaps", "ConfigMap", True),
)


async def costs_of(controller: Any, objects: list[Kind]) -> tuple[int, bool]:
    """Return the cost of the most expensive piece of work, and whether it leaves the loop."""
    harness = Harness(controller, options=Options(resources=StaticResources(RESOURCES)))
    harness.client.dynamic = {("", "v1", "pods"): Pod, ("", "v1", "configmaps"): ConfigMap}
    for one in objects:
        harness.client.mirror(type(one)).put(one)
    async with harness:
        return max(harness.offload.costs), harness.offload.leaves_the_loop


@pytest.mark.parametrize(
    ("controller", "objects", "count"),
    [
        (ReplicaSetController, replica_set, 900),
        (StatefulSetController, stateful_set, 900),
        (JobController, job, 900),
        (JobController, job_of_indexes, 4000),
        (DaemonSetController, daemon_set, 900),
        (DisruptionController, budget, 900),
        (EndpointsController, service, 900),
        (EndpointSliceController, service, 900),
        (EndpointSliceMirroringController, endpoints, 2100),
        (DeploymentController, deployment, 600),
        (ResourceQuotaController, quota, 900),
        (ClusterRoleAggregationController, roles, 300),
    ],
)
async def test_a_plan_over_many_objects_leaves_the_loop(
    controller: Any, objects: Callable[[int], list[Kind]], count: int
) -> None:
    few, stays = await costs_of(controller, objects(count // 10))
    one, leaves = await costs_of(controller, objects(count))
    assert stays is False
    assert leaves is True
    assert 8 * few <= one <= 13 * few


def dying_namespace(count: int) -> list[Kind]:
    meta = ObjectMeta(name="default", uid="ns", deletionTimestamp="2026-01-01T00:00:00Z")
    held = [
        ConfigMap(
            metadata=ObjectMeta(
                name=f"c{number}",
                namespace="default",
                uid=f"c{number}",
                deletionTimestamp="2026-01-01T00:00:00Z",
                finalizers=["example.com/hold"],
            )
        )
        for number in range(count)
    ]
    return [Namespace(metadata=meta, spec=NamespaceSpec(finalizers=["kubernetes"])), *held]


async def test_what_a_dying_namespace_costs_follows_what_is_left_in_it() -> None:
    few, _ = await costs_of(NamespaceController, dying_namespace(100))
    many, _ = await costs_of(NamespaceController, dying_namespace(200))
    assert many == 2 * few


class CountedPorts(list[ContainerPort]):
    """Ports of a container that count how often they are read through."""

    reads = 0

    def __iter__(self) -> Iterator[ContainerPort]:
        CountedPorts.reads += 1
        return super().__iter__()


@pytest.mark.parametrize("count", [200, 400])
def test_ports_of_a_pod_are_read_once_however_many_a_service_has(count: int) -> None:
    ports = [
        ServicePort(name=f"n{number}", port=number + 1, targetPort=f"n{number}", protocol="TCP")
        for number in range(count)
    ]
    targets = TargetPorts(Service(metadata=META, spec=ServiceSpec(ports=ports)))
    declared = CountedPorts(
        ContainerPort(name=f"n{number}", containerPort=9000 + number, protocol="TCP")
        for number in range(count)
    )
    CountedPorts.reads = 0
    pod = Pod(metadata=META, spec=PodSpec(containers=[Container(name="c", ports=declared)]))
    found = targets.of(pod)
    assert [number for _, number in found] == [9000 + number for number in range(count)]
    assert targets.of(pod) is found
    assert CountedPorts.reads == 2


async def test_a_budget_of_another_selector_costs_a_pod_one_look() -> None:
    expressions = [
        LabelSelectorRequirement(key=f"k{number}", operator="NotIn", values=["x"])
        for number in range(200)
    ]
    harness = Harness(DisruptionController)
    mirror = harness.client.mirror(PodDisruptionBudget)
    for number in range(300):
        pairs = {"tier": f"t{number}"}
        selector = LabelSelector(matchLabels=pairs, matchExpressions=expressions)
        spec = PodDisruptionBudgetSpec(minAvailable=1, selector=selector)
        metadata = ObjectMeta(name=f"b{number}", namespace="default")
        mirror.put(PodDisruptionBudget(metadata=metadata, spec=spec))
    async with harness:
        harness.offload.costs.clear()
        tier = replace(META, labels={"tier": "t7"})
        harness.client.mirror(Pod).put(Pod(metadata=tier))
        await harness.settle()
        # Of three hundred budgets the pod concerns one, which is reconciled, and again for its own new status.
        assert len(harness.offload.costs) == 4


@pytest.mark.parametrize("policy", ["Parallel", "OrderedReady"])
def test_a_stateful_set_of_all_replicas_there_can_be_is_planned_by_what_it_has(policy: str) -> None:
    owner, *present = stateful_set(700)
    assert isinstance(owner, StatefulSet)
    spec = replace(owner.spec, replicas=2**31 - 1, podManagementPolicy=policy)
    found = statefulset.plan(
        replace(owner, spec=spec),
        [pod for pod in present if isinstance(pod, Pod)],
        "a",
        "b",
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert len(found.create) == (statefulset.BURST if policy == "Parallel" else 0)
    assert found.create[:1] in {(), (700,)}


def test_a_history_of_revisions_too_long_to_keep_is_cut_at_once() -> None:
    owner = Deployment(metadata=META)
    annotations = {
        "deployment.kubernetes.io/revision": "7",
        "deployment.kubernetes.io/revision-history": ",".join(map(str, range(50_000))),
    }
    kept = new_annotations(owner, ReplicaSet(metadata=replace(META, annotations=annotations)), 9)
    history = kept["deployment.kubernetes.io/revision-history"]
    assert history.endswith("49998,49999,7")
    assert 1990 < len(history) <= 2000


@pytest.mark.parametrize("text", ["9" * 5000, "x"])
def test_a_revision_that_nobody_can_read_stops_nothing(text: str) -> None:
    annotations = {"deployment.kubernetes.io/revision": text}
    one = ReplicaSet(metadata=replace(META, annotations=annotations))
    assert new_annotations(Deployment(metadata=META), one, 9) == annotations
