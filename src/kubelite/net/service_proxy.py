"""Reconciles the node's nftables rules with services, endpoints, pods and network policies.

Changes mark keys dirty; a round computes the rules of the dirty keys anew and hands those of all keys to the table,
which applies the difference in one transaction. A `WorkQueue` gives out one key at a time; here all that is dirty goes
into one transaction, since each costs the kernel a commit. A round begins at once after quiet, then at most every
100 ms.
"""

import asyncio
import logging
from collections.abc import Callable

from msgspec.structs import replace

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.model import Kind
from kubelite.net.conntrack import forget_stale
from kubelite.net.foreign_firewall import ForeignFirewall
from kubelite.net.health_ports import HealthPorts
from kubelite.net.nftables import RulesRefused
from kubelite.net.policy_source import PolicySource
from kubelite.net.rule_table import RuleTable
from kubelite.net.rule_watch import UNKNOWN
from kubelite.net.ruleset import ELEMENT_COST_BYTES, ProxySettings, Ruleset
from kubelite.net.services import cost_bytes, host_port_rules, is_cut, service_rules
from kubelite.net.trusted_text import is_ipv4
from kubelite.offload import Offload

log = logging.getLogger(__name__)

ROUND_SECONDS = 0.1
RETRY_SECONDS = 5.0
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
SERVICE_INDEX = "net-service"
# Keys beside those of services, which are NAMESPACE/NAME.
HOST_PORTS, POLICIES = "*host-ports", "*policies"
ATTACH_SECONDS_MAX = 30.0
TOO_MANY_RULES = (
    "It asks for more rules than a node takes; some endpoints, addresses or peers are left out"
)


class ServiceProxy:
    """Rules for services, host ports and network policies on one node."""

    def __init__(
        self, client: Client, settings: ProxySettings, offload: Offload, events: EventRecorder
    ) -> None:
        self._settings = settings  # with the node's addresses as last seen
        self._offload = offload
        self._events = events
        self._services = client.mirror(Service)
        self._slices = client.mirror(EndpointSlice)
        self._pods = client.mirror(Pod, field_selector=f"spec.nodeName={settings.node_name}")
        self._slices.add_index(SERVICE_INDEX, _service_of)
        self._nodes = client.mirror(Node, field_selector=f"metadata.name={settings.node_name}")
        self.table = RuleTable(settings, offload, self._changed_by_others)
        self._policies = PolicySource(client, settings, offload, lambda: self._mark(POLICIES))
        self._cut_policies: set[str] = set()  # namespace/name of policies with a recorded event
        self._health = HealthPorts()
        self._firewall = ForeignFirewall(settings.bridge)
        self._parts: dict[str, Ruleset] = {}
        self._is_busy = False
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._round_ended = asyncio.Condition()
        self._unsubscribe: list[Callable[[], None]] = []
        self._check_firewall = True

    async def start(self) -> None:
        """Open the kernel handles. Raises RulesUnavailable."""
        self.table.start()

    async def run(self) -> None:
        """Follow changes until cancelled."""
        for mirror in (self._services, self._slices, self._pods, self._nodes):
            await mirror.synced()
        try:
            self._unsubscribe = [
                self._nodes.subscribe(self._node_changed),
                self._services.subscribe(self._service_changed),
                self._slices.subscribe(self._slice_changed),
                self._pods.subscribe(self._pod_changed),
            ]
            await self._policies.start()
            self._dirty |= (
                self._parts.keys()
            )  # from an earlier run; services may have been deleted since
            self._mark(HOST_PORTS)
            await self._follow()
        finally:
            self._policies.stop()
            while self._unsubscribe:
                self._unsubscribe.pop()()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            started = loop.time()
            self._is_busy = True
            try:
                succeeded = await self._round()
            finally:
                self._is_busy = False
            async with self._round_ended:
                self._round_ended.notify_all()
            wait = ROUND_SECONDS if succeeded else RETRY_SECONDS
            await asyncio.sleep(max(0.0, started + wait - loop.time()))

    async def stop(self) -> None:
        """Release the kernel handles after `run` has ended; the rules stay, so services keep working."""
        await self.table.stop()
        await self._health.stop()
        await self._events.close()

    async def applied(self) -> None:
        """Wait until every change seen so far is applied in the kernel."""
        async with self._round_ended:
            await self._round_ended.wait_for(self._is_settled)

    async def bridge_ready(self) -> None:
        """Route loopback traffic to the new bridge, unless the first round, which does so too, is still to come."""
        await self.table.bridge_ready()

    async def pod_attached(self, pod_uid: str, address: str) -> None:
        """Return once the policies for a new pod are in force: its containers may start only then."""
        self._policies.expect(pod_uid, address)
        if self._policies.is_in_use:
            async with asyncio.timeout(ATTACH_SECONDS_MAX):
                await self.applied()

    def pod_restored(self, pod_uid: str, address: str) -> None:
        """Record the address of a pod that was connected before this process began."""
        self._policies.expect(pod_uid, address)

    def pod_detached(self, pod_uid: str) -> None:
        """Drop the address of a pod that is disconnected."""
        self._policies.forget(pod_uid)

    def _is_settled(self) -> bool:
        return not self._dirty and not self._is_busy and self.table.is_current

    def _service_changed(self, before: Service | None, after: Service | None) -> None:
        if (
            before is None
            or after is None
            or before.spec != after.spec
            or before.status != after.status
        ):
            self._mark(_key(after or before))

    def _slice_changed(self, before: EndpointSlice | None, after: EndpointSlice | None) -> None:
        for entry in (before, after):
            if entry is not None:
                for key in _service_of(entry):
                    self._mark(key)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
            self._policies.pod_gone(before)
        if any(pod is not None and _has_host_ports(pod) for pod in (before, after)):
            self._mark(HOST_PORTS)

    def _node_changed(self, _: Node | None, after: Node | None) -> None:
        """Answer for load balancers at the node's addresses; a node that is deleted keeps them until it is back."""
        if after is None or after.metadata.name != self._settings.node_name:
            return
        addresses = tuple(
            entry.address for entry in after.status.addresses if is_ipv4(entry.address)
        )
        if addresses == self._settings.node_addresses:
            return
        self._settings = replace(self._settings, node_addresses=addresses)
        for service in self._services.list():
            if service.spec.type == "LoadBalancer":
                self._mark(_key(service))

    def _changed_by_others(self, tables: set[str]) -> None:
        self._check_firewall |= not tables.isdisjoint({"filter", UNKNOWN})
        self._wake.set()

    def _mark(self, key: str) -> None:
        self._dirty.add(key)
        self._wake.set()

    async def _round(self) -> bool:
        """Recompute the rulesets of the dirty keys and apply all of them. False: requeue after `RETRY_SECONDS`."""
        dirty, self._dirty = self._dirty, set()
        for key in sorted(dirty):
            if key == POLICIES:
                self._parts[key] = await self._policies.rules()
                self._tell_of_policies(self._parts[key].cut_policies)
            else:
                await self._compute(key)
            await asyncio.sleep(0)  # a thousand services at the start take 25 ms
        before = self.table.content
        try:
            await self.table.apply([self._parts[key] for key in sorted(self._parts)])
        except RulesRefused:
            self._wake.set()
            return False
        after = self.table.content
        await self._forget_flows(before, after)
        await self._health.follow(after.health_ports)
        await self._open_firewall()
        return True

    async def _compute(self, key: str) -> None:
        if key == HOST_PORTS:
            pods = self._pods.list()
            ports = sum(map(_ports_of, pods))
            self._parts[key] = await self._offload.run(
                ELEMENT_COST_BYTES * ports, lambda: host_port_rules(pods)
            )
            return
        namespace, _, name = key.partition("/")
        service = self._services.get(name, namespace)
        if service is None:
            self._parts.pop(key, None)
        else:
            slices = self._slices.indexed(SERVICE_INDEX, key)
            self._parts[key] = await self._offload.run(
                cost_bytes(service, slices),
                lambda: service_rules(service, slices, self._settings),
            )
            if is_cut(service, slices):
                self._events.event(service, WARNING, "TooManyRules", TOO_MANY_RULES)

    def _tell_of_policies(self, cut: set[str]) -> None:
        for key in sorted(cut - self._cut_policies):
            if (policy := self._policies.get(key)) is not None:
                self._events.event(policy, WARNING, "TooManyRules", TOO_MANY_RULES)
        self._cut_policies = set(cut)

    async def _forget_flows(self, before: Ruleset, after: Ruleset) -> None:
        old = before.udp_endpoints
        changed: dict[tuple[str, int], frozenset[str]] = {
            frontend: endpoints
            for frontend, endpoints in after.udp_endpoints.items()
            if old.get(frontend) != endpoints
        }
        changed |= {gone: frozenset() for gone in old.keys() - after.udp_endpoints.keys()}
        if changed:
            try:
                await asyncio.to_thread(forget_stale, changed, self._settings.local_addresses)
            except OSError as error:
                log.warning("cannot clean up UDP flows", extra={"reason": str(error)})

    async def _open_firewall(self) -> None:
        if self._check_firewall:
            self._check_firewall = False
            await self._firewall.open()


def _key(item: Kind | None) -> str:
    metadata = getattr(item, "metadata")  # noqa: B009 - every kind of object has one, `Kind` itself has not
    return f"{metadata.namespace}/{metadata.name}"


def _service_of(entry: EndpointSlice) -> list[str]:
    name = entry.metadata.labels.get(SERVICE_NAME_LABEL, "")
    return [f"{entry.metadata.namespace}/{name}"] if name else []


def _ports_of(pod: Pod) -> int:
    containers = (*pod.spec.initContainers, *pod.spec.containers)
    return sum(1 + len(container.ports) for container in containers)


def _has_host_ports(pod: Pod) -> bool:
    containers = (*pod.spec.initContainers, *pod.spec.containers)
    return any(port.hostPort for container in containers for port in container.ports)
