"""Writes the status of kubelite's Ingresses and reports what is wrong with them.

All are decided together: a host and path belongs to one Ingress. The nodes make the same plan of the same objects, and
serve by it (see `kubelite.ingress`); every node is an address of every Ingress.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.model import to_wire
from kubelite.api.kinds.networking import Ingress, IngressClass, IngressLoadBalancerIngress
from kubelite.api.machinery.ingress_classes import CONTROLLER, NAME, is_ours, own_classes
from kubelite.control.batches import for_each
from kubelite.control.load_balancing import held_ports, hosts_of
from kubelite.control.node_taints import is_node_ready
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.told import Told

ALL = Key("", "all")
STEP_COST_BYTES = 1024  # what the offload counts for a path of an Ingress


class IngressController:
    """Reconciles all Ingresses at once."""

    name = "ingress-controller"
    identity = "ingress-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.options.ingress
        self._ingresses = context.mirror(Ingress)
        self._classes = context.mirror(IngressClass)
        self._services = context.mirror(Service)
        self._nodes = context.mirror(Node)
        self._written: set[str] = set()  # uids of the Ingresses whose status is this controller's
        self._told = Told(context.events)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch what the decision depends on; Services and nodes matter only while there are Ingresses."""
        return (
            Watch(IngressClass, _all),
            Watch(Ingress, _all, where=_ingress_matters),
            Watch(Service, self._if_any, where=_service_matters),
            Watch(Node, self._if_any, where=node_matters),
        )

    def _if_any(self, _: object) -> Iterable[Key]:
        return (ALL,) if self._ingresses.list() else ()

    async def reconcile(self, _: Key) -> float | None:
        """Decide for all Ingresses, and write what differs."""
        if not self._settings.is_on:
            await self._remove_class()
        own = own_classes(self._classes.list())
        everything = self._ingresses.list()
        ours = [one for one in everything if is_ours(one, own)]
        others = [one for one in everything if one.metadata.uid in self._written]
        uids = {one.metadata.uid for one in ours}
        hosts = hosts_of(self._nodes.list(), ()) if ours else []
        addresses = [address for host in hosts for address in host.addresses.values()]
        await for_each(ours, lambda one: self._write(one, addresses))
        await for_each(
            [one for one in others if one.metadata.uid not in uids],
            lambda one: self._write(one, []),
        )
        self._written = uids
        self._told.keep(uids)
        if ours:
            await self._report(ours, own)
        return None

    async def _remove_class(self) -> None:
        found = self._classes.get(NAME)
        if found is not None and found.spec.controller == CONTROLLER:
            try:
                await self._context.client.delete(IngressClass, NAME, uid=found.metadata.uid)
            except NotFound:
                return

    async def _write(self, ingress: Ingress, addresses: Sequence[str]) -> None:
        wanted = [IngressLoadBalancerIngress(ip=address) for address in addresses]
        if ingress.status.loadBalancer.ingress == wanted or ingress.metadata.deletionTimestamp:
            return
        metadata = ingress.metadata
        try:
            await self._context.client.patch(
                Ingress,
                metadata.name,
                {
                    "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resourceVersion},
                    "status": {
                        "loadBalancer": {"ingress": [to_wire(one) for one in wanted] or None}
                    },
                },
                metadata.namespace,
                subresource="status",
            )
        except NotFound:
            return

    async def _report(self, ours: Sequence[Ingress], own: Any) -> None:
        """Record a warning for each problem, once until it is gone."""
        # Only clusters with Ingresses need the rest.
        from kubelite.ingress.plan import backend_problems, plan

        cost = STEP_COST_BYTES * sum(1 + len(one.spec.rules) for one in ours)
        found = await self._context.offload.run(cost, lambda: plan(ours, own))
        services = {
            (one.namespace, one.service): service
            for one in found.backends
            if (service := self._services.get(one.service, one.namespace)) is not None
        }
        problems: dict[str, dict[tuple[str, str], None]] = {}
        for one in (*found.problems, *backend_problems(found, services)):
            problems.setdefault(one.ingress, {})[one.reason, one.message] = None
        taken = self._taken_ports()
        for ingress in ours:
            key = f"{ingress.metadata.namespace}/{ingress.metadata.name}"
            self._told.tell(ingress, [*problems.get(key, ()), *taken])

    def _taken_ports(self) -> list[tuple[str, str]]:
        """Return what to tell of ports that a Service has: its rules get the packets before anything that listens."""
        return [
            (
                "PortConflict",
                f"port {port} of the nodes is in use by service {one.metadata.namespace}/{one.metadata.name}",
            )
            for one in self._services.list()
            if one.spec.type == "LoadBalancer"
            for _, port in sorted(
                held_ports(one) & {("TCP", port) for port in self._settings.ports}
            )
        ]


def _all(_: object) -> Iterable[Key]:
    return (ALL,)


def _ingress_matters(before: Ingress | None, after: Ingress | None) -> bool:
    """Return whether more than managed fields changed."""
    if before is None or after is None:
        return True
    old, new = before.metadata, after.metadata
    return (
        before.spec != after.spec
        or before.status != after.status
        or old.annotations != new.annotations
        or old.deletionTimestamp != new.deletionTimestamp
        or old.uid != new.uid
    )


def _service_matters(before: Service | None, after: Service | None) -> bool:
    return (
        before is None
        or after is None
        or before.spec != after.spec
        or before.status != after.status
    )


def node_matters(before: Node | None, after: Node | None) -> bool:
    """Return whether a change of a node may change the addresses of Ingresses and Gateways."""
    return _view(before) != _view(after)


def _view(node: Node | None) -> object:
    return node and (
        node.metadata.uid,
        node.metadata.labels,
        node.metadata.deletionTimestamp,
        node.spec.unschedulable,
        is_node_ready(node),
        node.status.addresses,
    )
