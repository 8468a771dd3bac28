"""What must hold in a cluster in which nothing happens any more. Each function returns what does not."""

from collections import Counter
from collections.abc import Iterator

from kubelite.api.kinds.apps import DaemonSet, Deployment, ReplicaSet, StatefulSet
from kubelite.api.kinds.batch import CronJob, Job
from kubelite.api.kinds.core.endpoints import Endpoints
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import Kind
from kubelite.control.pods import is_active, is_ready, is_terminal
from simulation.cluster import SimulatedCluster

OWNERS: tuple[type[Kind], ...] = (
    Deployment, ReplicaSet, StatefulSet, DaemonSet, CronJob, Job, Pod, Service, EndpointSlice, Endpoints, Node,
)  # fmt: skip


def faults(cluster: SimulatedCluster) -> list[str]:
    """Return every invariant that does not hold."""
    return [
        *cluster.disk.faults(),
        *owner_faults(cluster),
        *address_faults(cluster),
        *node_faults(cluster),
        *count_faults(cluster),
        *endpoint_faults(cluster),
        *container_faults(cluster),
    ]


def owner_faults(cluster: SimulatedCluster) -> Iterator[str]:
    """Every owner that is named exists."""
    items: list[tuple[str, ObjectMeta]] = [
        (kind.__name__, item.metadata)  # type: ignore[attr-defined]  # every stored kind has metadata
        for kind in OWNERS
        for item in cluster.all(kind)
    ]
    uids = {metadata.uid for _, metadata in items}
    for kind, metadata in items:
        for reference in metadata.ownerReferences:
            if reference.uid not in uids:
                yield f"{kind} {metadata.name} has an owner that does not exist"


def address_faults(cluster: SimulatedCluster) -> Iterator[str]:
    """No two pods share an address."""
    addresses = Counter(
        pod.status.podIP
        for pod in cluster.all(Pod)
        if pod.status.podIP and not is_terminal(pod) and not pod.spec.hostNetwork
    )
    for address, number in addresses.items():
        if number > 1:
            yield f"{address} is used {number} times"


def node_faults(cluster: SimulatedCluster) -> Iterator[str]:
    """Every pod that counts is on a node that lives; one that is being deleted waits there for its node or its end."""
    nodes = {node.metadata.name for node in cluster.all(Node)}
    for pod in cluster.all(Pod):
        node = pod.spec.nodeName
        if not is_active(pod):
            continue
        if node not in nodes or not (node in cluster.nodes and cluster.nodes[node].is_running):
            yield f"pod {pod.metadata.name} is on {node!r}, which does not live"


def container_faults(cluster: SimulatedCluster) -> Iterator[str]:
    """Nothing runs on a living node for a pod that does not exist."""
    uids = {pod.metadata.uid for pod in cluster.all(Pod)}
    for node in cluster.nodes.values():
        for record in node.runtime.all_records():
            if record.is_running and record.pod_uid not in uids:
                yield f"{record.name} of pod {record.pod_name} still runs on {node.name}"


def count_faults(cluster: SimulatedCluster) -> Iterator[str]:
    """Every workload has the pods it wants, and says so."""
    pods: Counter[str] = Counter(
        reference.uid
        for pod in cluster.all(Pod)
        if is_active(pod)
        for reference in pod.metadata.ownerReferences
        if reference.controller
    )
    sets: list[ReplicaSet | StatefulSet] = [*cluster.all(ReplicaSet), *cluster.all(StatefulSet)]
    for one in sets:
        wanted = 1 if one.spec.replicas is None else one.spec.replicas
        has, says = pods[one.metadata.uid], one.status.replicas
        ready = one.status.readyReplicas
        if not wanted == has == says == ready:
            yield f"{one.metadata.name} wants {wanted}, has {has}, says {says}, ready {ready}"
    for daemon in cluster.all(DaemonSet):
        wanted, has = len(cluster.all(Node)), pods[daemon.metadata.uid]
        if not wanted == has == daemon.status.numberAvailable:
            yield f"{daemon.metadata.name} wants {wanted}, has {has}"
    for job in cluster.all(Job):
        if not any(
            one.type in ("Complete", "Failed") and one.status == "True"
            for one in job.status.conditions
        ):
            yield f"job {job.metadata.name} is not finished"
        if pods[job.metadata.uid]:
            yield f"job {job.metadata.name} has {pods[job.metadata.uid]} pods that go on"


def endpoint_faults(cluster: SimulatedCluster) -> Iterator[str]:
    """The endpoints of a service are its ready pods, each once; no slice is without its service."""
    services = [one for one in cluster.all(Service) if one.spec.selector]
    known = {(one.metadata.namespace, one.metadata.name) for one in cluster.all(Service)}
    for one in cluster.all(EndpointSlice):
        name = one.metadata.labels.get("kubernetes.io/service-name", "")
        if (one.metadata.namespace, name) not in known:
            yield f"slice {one.metadata.name} belongs to no service"
    for service in services:
        ready = sorted(
            pod.status.podIP
            for pod in cluster.all(Pod, service.metadata.namespace)
            if service.spec.selector.items() <= pod.metadata.labels.items()
            and is_ready(pod)
            and is_active(pod)
        )
        served = sorted(
            address
            for one in cluster.all(EndpointSlice, service.metadata.namespace)
            if one.metadata.labels.get("kubernetes.io/service-name") == service.metadata.name
            for endpoint in one.endpoints
            if endpoint.conditions.ready
            for address in endpoint.addresses
        )
        listed = sorted(
            address.ip
            for one in cluster.all(Endpoints, service.metadata.namespace)
            if one.metadata.name == service.metadata.name
            for part in one.subsets
            for address in part.addresses
        )
        if not ready == served == listed:
            yield f"{service.metadata.name} has ready {ready}, slices {served}, endpoints {listed}"
