"""Gives Services of type LoadBalancer their addresses, and has one node answer for each address of a pool.

All Services are decided together (see `load_balancing`), since ports and addresses are one Service's each. A node that
answers for an address renews its lease every two seconds: after `SILENCE_SECONDS` without, another one is chosen. A
node that is only cut off hears the other one on the link and ends (see `net.announcer`).
"""

import asyncio
from collections.abc import Iterable, Sequence, Set
from typing import Any

from msgspec.structs import replace

from kubelite.api.client.events import NORMAL
from kubelite.api.errors import NotFound
from kubelite.api.kinds.coordination import Lease
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import Condition
from kubelite.api.kinds.model import to_wire
from kubelite.api.machinery.load_balancing import (
    ANNOUNCED,
    FINALIZER,
    OVERLAY_PORT,
    announcer_of,
    is_ours,
)
from kubelite.api.machinery.times import format_time
from kubelite.control.batches import for_each
from kubelite.control.conditions import without
from kubelite.control.load_balancing import (
    Claim,
    Outcome,
    Pool,
    from_pool,
    host_ports,
    hosts_of,
    key_of,
    node_ports,
    on_nodes,
)
from kubelite.control.node_taints import is_node_ready
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.told import Told

ALL = Key("", "all")
SILENCE_SECONDS = 6.0
MARGIN_SECONDS = 0.01
STEP_COST_BYTES = 64  # what the offload counts for a Service, a node or a host port
LEASES = "kube-node-lease"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
BALANCED, WITH_NODE_PORTS, WITH_HOST_PORTS = "balanced", "node-ports", "host-ports"
OF_SERVICE = "load-balancer-service"
YES = "yes"


class LoadBalancerController:
    """Reconciles all Services of type LoadBalancer at once."""

    name = "service-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.options.load_balancing
        self._pool = Pool(self._settings.pool)
        self._services = context.mirror(Service)
        self._nodes = context.mirror(Node)
        self._pods = context.mirror(Pod)
        self._slices = context.mirror(EndpointSlice)
        self._services.add_index(BALANCED, lambda one: [YES] if is_involved(one) else [])
        self._services.add_index(
            WITH_NODE_PORTS,
            lambda one: [YES] if one.spec.type in ("NodePort", "LoadBalancer") else [],
        )
        self._pods.add_index(WITH_HOST_PORTS, lambda one: [YES] if host_ports(one) else [])
        self._slices.add_index(OF_SERVICE, _service_of)
        self._heard: dict[
            str, float
        ] = {}  # node -> when it was heard of, or was chosen, on the loop's clock
        self._silent: set[str] = set()
        self._told = Told(context.events)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch what the decision depends on; without load balancers only what needs a clean-up matters."""
        if not self._settings.is_on:
            return (Watch(Service, _all, where=_service_matters),)
        watches: tuple[Watch[Any], ...] = (
            Watch(Service, _all, where=_service_matters),
            Watch(Node, _all, where=_node_matters),
            Watch(Pod, _all, where=_pod_matters),
            Watch(EndpointSlice, _all, where=self._slice_matters),
        )
        if self._pool.ranges:
            watches = (*watches, Watch(Lease, _all, where=self._renewed))
        return watches

    async def reconcile(self, _: Key) -> float | None:
        """Decide for all Services, and write what differs. Return the seconds until a node may count as silent."""
        found = self._services.indexed(BALANCED, YES)
        leaving = [one for one in found if not self._is_kept(one)]
        await for_each(leaving, self._release)
        kept = [one for one in found if self._is_kept(one)]
        self._forget(kept)
        again_seconds = self._watch_announcers(kept)
        outcomes = await self._decide(kept)
        await for_each(kept, lambda one: self._settle(one, outcomes[key_of(one)]))
        return again_seconds

    def _is_kept(self, service: Service) -> bool:
        return (
            self._settings.is_on and is_ours(service) and service.metadata.deletionTimestamp is None
        )

    def _forget(self, kept: Sequence[Service]) -> None:
        known = {one.metadata.uid for one in kept}
        known |= {pod.metadata.uid for pod in self._pods.indexed(WITH_HOST_PORTS, YES)}
        self._told.keep(known)

    async def _decide(self, services: Sequence[Service]) -> dict[str, Outcome]:
        nodes = self._nodes.list()
        pods = self._pods.indexed(WITH_HOST_PORTS, YES)
        ported = self._services.indexed(WITH_NODE_PORTS, YES)
        local = self._local_nodes(services)
        silent = frozenset(self._silent)

        def decide() -> dict[str, Outcome]:
            hosts = hosts_of(nodes, pods)
            if self._pool.ranges:
                alive = [host for host in hosts if host.name not in silent]
                taken = {entry.address for node in nodes for entry in node.status.addresses}
                return from_pool(services, self._pool, alive, local, taken)
            return on_nodes(
                services, hosts, local, {**node_ports(ported), **self._own_ports(nodes)}
            )

        steps = len(services) * (1 + len(nodes)) + len(nodes) + len(pods) + len(ported)
        return await self._context.offload.run(STEP_COST_BYTES * steps, decide)

    def _own_ports(self, nodes: Sequence[Node]) -> dict[Claim, str]:
        """Return the ports that kubelite itself has on nodes."""
        found: dict[Claim, str] = {
            ("TCP", self._settings.api_port): "the API server",
            ("UDP", OVERLAY_PORT): "the pod network",
        }
        for node in nodes:
            found["TCP", node.status.daemonEndpoints.kubeletEndpoint.Port] = "the node agent"
        return found

    def _local_nodes(self, services: Sequence[Service]) -> dict[str, Set[str]]:
        """Return the nodes with ready endpoints of each Service with the external policy Local."""
        return {
            key_of(service): {
                endpoint.nodeName or ""
                for entry in self._slices.indexed(OF_SERVICE, key_of(service))
                for endpoint in entry.endpoints
                if endpoint.conditions.ready is not False
            }
            for service in services
            if service.spec.externalTrafficPolicy == "Local"
        }

    def _watch_announcers(self, services: Sequence[Service]) -> float | None:
        """Find out which announcing nodes are silent; return the seconds until the next one may be."""
        if not self._pool.ranges:
            return None
        now = asyncio.get_running_loop().time()
        present = {name for one in services if (name := announcer_of(one))}
        soonest = None
        for name in sorted(present - self._silent):
            left = self._heard.setdefault(name, now) + SILENCE_SECONDS - now
            if left <= 0:
                self._silent.add(name)
            elif soonest is None or left < soonest:
                soonest = left
        for name in self._heard.keys() - present - self._silent:
            del self._heard[name]
        return None if soonest is None else soonest + MARGIN_SECONDS

    def _renewed(self, _: Lease | None, after: Lease | None) -> bool:
        """Note that a node was heard of; return whether it counted as silent."""
        if after is None or after.metadata.namespace != LEASES:
            return False
        name = after.metadata.name
        if name in self._heard:
            self._heard[name] = asyncio.get_running_loop().time()
        if name not in self._silent:
            return False
        self._silent.discard(name)
        return True

    async def _settle(self, service: Service, outcome: Outcome) -> None:
        """Write what a Service gets, and tell of it."""
        events, context = self._context.events, self._context
        before, conditions = service.status.loadBalancer.ingress, service.status.conditions
        wanted = list(conditions)
        if _announcement(service) != outcome.announcer:
            wanted = without(conditions, ANNOUNCED)
            if outcome.announcer is not None:
                wanted.append(condition(outcome.announcer, format_time(context.clock.now())))
        is_new = bool(outcome.ingress) and not before
        finalizers = [name for name in service.metadata.finalizers if name != FINALIZER]
        if outcome.ingress:
            finalizers.append(FINALIZER)
        is_final = set(finalizers) == set(service.metadata.finalizers)
        if list(outcome.ingress) != before or wanted != conditions or not is_final:
            if is_new:
                events.event(service, NORMAL, "EnsuringLoadBalancer", "Ensuring load balancer")
            balancer = replace(service.status.loadBalancer, ingress=list(outcome.ingress))
            if not await self._write(
                service,
                finalizers,
                {
                    "loadBalancer": {"ingress": to_wire(balancer).get("ingress")},
                    "conditions": [to_wire(one) for one in wanted] or None,
                },
            ):
                return
            if outcome.announcer and outcome.announcer != announcer_of(service):
                self._heard[outcome.announcer] = asyncio.get_running_loop().time()
                context.queue.add(ALL)
            if is_new:
                events.event(service, NORMAL, "EnsuredLoadBalancer", "Ensured load balancer")
            elif outcome.ingress and list(outcome.ingress) != before:
                text = "Updated load balancer with new hosts"
                events.event(service, NORMAL, "UpdatedLoadBalancer", text)
        self._told.tell(service, [(outcome.reason, outcome.message)] if outcome.reason else ())
        for name, told in outcome.shadowed:
            namespace, _, short = name.partition("/")
            if (pod := self._pods.get(short, namespace)) is not None:
                self._told.tell(pod, [("HostPortConflict", told)])

    async def _release(self, service: Service) -> None:
        """Take the addresses from a Service that is deleted or is no load balancer any more."""
        if FINALIZER not in service.metadata.finalizers or _is_others(service):
            return
        if not (self._settings.is_on or _has_marks(service)):
            return  # with load balancing off, the finalizer is of whatever does it instead
        events = self._context.events
        events.event(service, NORMAL, "DeletingLoadBalancer", "Deleting load balancer")
        finalizers = [name for name in service.metadata.finalizers if name != FINALIZER]
        conditions = without(service.status.conditions, ANNOUNCED)
        status: dict[str, Any] = {
            "loadBalancer": {"ingress": None},
            "conditions": [to_wire(one) for one in conditions] or None,
        }
        if await self._write(service, finalizers, status):
            events.event(service, NORMAL, "DeletedLoadBalancer", "Deleted load balancer")

    async def _write(
        self, service: Service, finalizers: Sequence[str], status: dict[str, Any]
    ) -> bool:
        """Write finalizers and status of a Service as it was read; False if it is gone."""
        metadata = service.metadata
        try:
            await self._context.client.patch(
                Service,
                metadata.name,
                {
                    "metadata": {
                        "uid": metadata.uid,
                        "resourceVersion": metadata.resourceVersion,
                        "finalizers": list(finalizers) or None,
                    },
                    "status": status,
                },
                metadata.namespace,
                subresource="status",
            )
        except NotFound:
            return False
        return True

    def _slice_matters(self, before: EndpointSlice | None, after: EndpointSlice | None) -> bool:
        """Return whether a change of endpoints changes the nodes of a Service with the external policy Local."""
        if before is not None and after is not None and _ready_nodes(before) == _ready_nodes(after):
            return False
        for entry in (before, after):
            for key in _service_of(entry) if entry is not None else ():
                namespace, _, name = key.partition("/")
                service = self._services.get(name, namespace)
                if service is not None and service.spec.externalTrafficPolicy == "Local":
                    return is_involved(service)
        return False


def is_involved(service: Service) -> bool:
    """Return whether a Service is a load balancer of kubelite's, or was one and is to be cleaned up."""
    return is_ours(service) or (
        FINALIZER in service.metadata.finalizers and not _is_others(service)
    )


def condition(node: str, now: str) -> Condition:
    """Return the condition that tells which node announces an address; `node` may be empty."""
    status, reason = ("True", "NodeChosen") if node else ("False", "NoNode")
    return Condition(
        type=ANNOUNCED, status=status, reason=reason, message=node, lastTransitionTime=now
    )


def _announcement(service: Service) -> str | None:
    """Return the outcome's `announcer` that a Service's conditions tell of."""
    has_one = any(one.type == ANNOUNCED for one in service.status.conditions)
    return announcer_of(service) if has_one else None


def _has_marks(service: Service) -> bool:
    """Return whether the addresses in a Service's status are kubelite's."""
    ingress = service.status.loadBalancer.ingress
    return _announcement(service) is not None or any(entry.ports for entry in ingress)


def _is_others(service: Service) -> bool:
    """Return whether another implementation cares for a Service, and so for its finalizer."""
    return service.spec.loadBalancerClass is not None and not (
        is_ours(service) or service.spec.type != "LoadBalancer"
    )


def _all(_: object) -> Iterable[Key]:
    return (ALL,)


def _service_of(entry: EndpointSlice) -> list[str]:
    name = entry.metadata.labels.get(SERVICE_NAME_LABEL, "")
    return [f"{entry.metadata.namespace}/{name}"] if name else []


def _ready_nodes(entry: EndpointSlice) -> set[str]:
    return {one.nodeName or "" for one in entry.endpoints if one.conditions.ready is not False}


def _service_matters(before: Service | None, after: Service | None) -> bool:
    present = [one for one in (before, after) if one is not None]
    if not any(is_involved(one) or one.spec.type == "NodePort" for one in present):
        return False
    if before is None or after is None:
        return True
    return any(
        (
            before.spec != after.spec,
            before.status != after.status,
            before.metadata.finalizers != after.metadata.finalizers,
            before.metadata.deletionTimestamp != after.metadata.deletionTimestamp,
        )
    )


def _node_matters(before: Node | None, after: Node | None) -> bool:
    return _view(before) != _view(after)


def _view(node: Node | None) -> object:
    return node and (
        node.metadata.uid,
        node.metadata.labels,
        node.metadata.deletionTimestamp,
        node.spec.unschedulable,
        is_node_ready(node),
        node.status.addresses,
        node.status.daemonEndpoints,
    )


def _pod_matters(before: Pod | None, after: Pod | None) -> bool:
    """Return whether the host ports on a node change."""
    return _claims(before) != _claims(after)


def _claims(pod: Pod | None) -> object:
    return (pod.spec.nodeName, host_ports(pod)) if pod is not None and host_ports(pod) else None
