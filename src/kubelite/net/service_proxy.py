"""Reconciles the node's nftables rules with services, endpoints, pods and network policies.

Changes mark keys dirty; a round computes the rules of the dirty keys anew and hands those of all keys to the table,
which applies the difference in one transaction. A `WorkQueue` gives out one key at a time; here all that is dirty goes
into one transaction, since each costs the kernel a commit. A round begins at once after quiet, then at most every
100 ms.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.model import Kind
from kubelite.net.conntrack import forget_stale
from kubelite.net.foreign_firewall import ForeignFirewall, droppers
from kubelite.net.health_ports import HealthPorts
from kubelite.net.link_bindings import LinkBindings
from kubelite.net.nftables import Nftables, RulesRefused, RulesUnavailable
from kubelite.net.policy_source import PolicySource
from kubelite.net.rule_table import RuleTable
from kubelite.net.rule_watch import UNKNOWN, RuleWatch
from kubelite.net.ruleset import ELEMENT_COST_BYTES, TABLE, ProxySettings, Ruleset
from kubelite.net.services import cost_bytes, host_port_rules, is_cut, service_rules
from kubelite.net.trusted_text import address_text
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
FOREIGN_SECONDS = 10.0  # between two looks at the tables of other programs
LIST_TABLES = "list tables\n"
DROPS = "The nftables table {table} of another program drops what pods send and receive: accept the link {bridge} in it"


class FamilyRules:
    """The rules of one family: what they depend on, their parts by key, and the table they are in."""

    def __init__(self, settings: ProxySettings, offload: Offload, nftables: Nftables) -> None:
        self.settings = settings  # with the node's addresses as last seen
        self.table = RuleTable(settings, offload, nftables)
        self.firewall = ForeignFirewall(settings.bridge, settings.family, settings.local_addresses)
        self.parts: dict[str, Ruleset] = {}


class ServiceProxy:
    """Rules for services, host ports and network policies on one node."""

    def __init__(
        self,
        client: Client,
        settings: Sequence[ProxySettings],
        offload: Offload,
        events: EventRecorder,
        *,
        has_services: bool = True,
        has_policies: bool = True,
    ) -> None:
        """`settings` are those of each family of the cluster, the primary one first.

        Without services or policies there are no rules for them; an earlier run's are removed.
        """
        self._has_services = has_services
        node_name = settings[0].node_name
        self._node_name = node_name
        self._offload = offload
        self._events = events
        self._services = client.mirror(Service)
        self._slices = client.mirror(EndpointSlice)
        self._pods = client.mirror(Pod, field_selector=f"spec.nodeName={node_name}")
        self._slices.add_index(SERVICE_INDEX, _service_of)
        self._nodes = client.mirror(Node, field_selector=f"metadata.name={node_name}")
        self._nftables = Nftables()
        self.bindings = LinkBindings(self._nftables)  # of the links of pods that kubelite connects
        self._watch = RuleWatch(self._changed_by_others)
        self._families = [FamilyRules(one, offload, self._nftables) for one in settings]
        self._policies = PolicySource(
            client, settings, offload, lambda: self._mark(POLICIES), is_on=has_policies
        )
        self._cut_policies: set[str] = set()  # namespace/name of policies with a recorded event
        self._health = HealthPorts([one.family.anywhere for one in settings])
        self._is_busy = False
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._round_ended = asyncio.Condition()
        self._unsubscribe: list[Callable[[], None]] = []
        self._check_firewall = True  # iptables
        self._check_tables = True  # those of other users of nftables
        self._tables_timer: asyncio.TimerHandle | None = None  # while they are not to be read
        self._droppers: set[str] = set()  # the tables that were told of

    async def start(self) -> None:
        """Open the kernel handles. Raises RulesUnavailable."""
        self._nftables.open()
        try:
            self._watch.start()
        except PermissionError as error:
            raise RulesUnavailable(
                "cannot set up service networking: needs root (CAP_NET_ADMIN)"
            ) from error

    @property
    def table(self) -> RuleTable:
        """The table of the primary family."""
        return self._families[0].table

    async def run(self) -> None:
        """Follow changes until cancelled."""
        for mirror in (self._services, self._slices, self._pods, self._nodes):
            await mirror.synced()
        try:
            self._unsubscribe = [
                self._nodes.subscribe(self._node_changed),
                self._pods.subscribe(self._pod_changed),
            ]
            if self._has_services:
                self._unsubscribe.append(self._services.subscribe(self._service_changed))
                self._unsubscribe.append(self._slices.subscribe(self._slice_changed))
            await self._policies.start()
            for family in self._families:
                # From an earlier run; services may have been deleted since.
                self._dirty |= family.parts.keys()
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
        self._watch.stop()
        if self._tables_timer is not None:
            self._tables_timer.cancel()
        await self._nftables.close()
        await self._health.stop()
        await self._events.close()

    async def applied(self) -> None:
        """Wait until every change seen so far is applied in the kernel."""
        async with self._round_ended:
            await self._round_ended.wait_for(self._is_settled)

    async def bridge_ready(self) -> None:
        """Route loopback traffic to the new bridge, unless the first round, which does so too, is still to come."""
        for family in self._families:
            await family.table.bridge_ready()

    async def pod_attached(self, pod_uid: str, addresses: Sequence[str]) -> None:
        """Return once the policies for a new pod are in force: its containers may start only then."""
        self._policies.expect(pod_uid, addresses)
        if self._policies.is_in_use:
            async with asyncio.timeout(ATTACH_SECONDS_MAX):
                await self.applied()

    def pod_restored(self, pod_uid: str, addresses: Sequence[str]) -> None:
        """Record the addresses of a pod that was connected before this process began."""
        self._policies.expect(pod_uid, addresses)

    def pod_detached(self, pod_uid: str) -> None:
        """Drop the address of a pod that is disconnected."""
        self._policies.forget(pod_uid)

    def _is_settled(self) -> bool:
        are_current = all(family.table.is_current for family in self._families)
        is_at_rest = not self._dirty and not self._is_busy
        return is_at_rest and are_current and self.bindings.is_current

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
        if after is None or after.metadata.name != self._node_name:
            return
        is_changed = False
        for rules in self._families:
            texts = (
                address_text(entry.address, rules.settings.family)
                for entry in after.status.addresses
            )
            addresses = tuple(text for text in texts if text is not None)
            if addresses != rules.settings.node_addresses:
                rules.settings = replace(rules.settings, node_addresses=addresses)
                is_changed = True
        for service in self._services.list() if is_changed and self._has_services else ():
            if service.spec.type == "LoadBalancer":
                self._mark(_key(service))

    def _changed_by_others(self, tables: set[str]) -> None:
        self._check_firewall |= not tables.isdisjoint({"filter", UNKNOWN})
        self._check_tables |= tables != {TABLE}
        if self._nftables.is_by_program and self._nftables.running:
            tables = tables - {TABLE}  # of our own transaction, whose process has another name
        for family in self._families:
            family.table.changed_by_others(tables)
        self.bindings.changed_by_others(tables)
        self._wake.set()

    def _mark(self, key: str) -> None:
        self._dirty.add(key)
        self._wake.set()

    async def _round(self) -> bool:
        """Recompute the rulesets of the dirty keys and apply all of them. False: requeue after `RETRY_SECONDS`."""
        dirty, self._dirty = self._dirty, set()
        for key in sorted(dirty):
            if key == POLICIES:
                found = await self._policies.rules()
                for family, part in zip(self._families, found, strict=True):
                    family.parts[key] = part
                self._tell_of_policies(set().union(*(part.cut_policies for part in found)))
            else:
                await self._compute(key)
            await asyncio.sleep(0)  # a thousand services at the start take 25 ms
        succeeded = await self._bind_links()
        for family in self._families:
            succeeded &= await self._apply(family)
        if not succeeded:
            self._wake.set()
            return False
        ports = [family.table.content.health_ports for family in self._families]
        await self._health.follow({port: answer for one in ports for port, answer in one.items()})
        await self._open_firewall()
        return True

    async def _bind_links(self) -> bool:
        """Write the bindings of links again where another program changed them; False: the kernel refused them."""
        try:
            await self.bindings.apply()
        except RulesRefused as refusal:
            log.error("cannot bind links", extra={"reason": str(refusal)})  # noqa: TRY400 - no traceback
            return False
        return True

    async def _apply(self, family: FamilyRules) -> bool:
        """Bring the table of one family to its parts; False: the kernel refused them."""
        before = family.table.content
        try:
            await family.table.apply([family.parts[key] for key in sorted(family.parts)])
        except RulesRefused:
            return False
        await self._forget_flows(before, family.table.content, family.settings)
        return True

    async def _compute(self, key: str) -> None:
        if key == HOST_PORTS:
            pods = self._pods.list()
            ports = sum(map(_ports_of, pods))
            for rules in self._families:
                family = rules.settings.family
                rules.parts[key] = await self._offload.run(
                    ELEMENT_COST_BYTES * ports, partial(host_port_rules, pods, family)
                )
            return
        namespace, _, name = key.partition("/")
        service = self._services.get(name, namespace)
        if service is None:
            for rules in self._families:
                rules.parts.pop(key, None)
            return
        slices = self._slices.indexed(SERVICE_INDEX, key)
        for rules in self._families:
            rules.parts[key] = await self._offload.run(
                cost_bytes(service, slices),
                partial(service_rules, service, slices, rules.settings),
            )
        if is_cut(service, slices):
            self._events.event(service, WARNING, "TooManyRules", TOO_MANY_RULES)

    def _tell_of_policies(self, cut: set[str]) -> None:
        for key in sorted(cut - self._cut_policies):
            if (policy := self._policies.get(key)) is not None:
                self._events.event(policy, WARNING, "TooManyRules", TOO_MANY_RULES)
        self._cut_policies = set(cut)

    async def _forget_flows(self, before: Ruleset, after: Ruleset, settings: ProxySettings) -> None:
        old = before.udp_endpoints
        changed: dict[tuple[str, int], frozenset[str]] = {
            frontend: endpoints
            for frontend, endpoints in after.udp_endpoints.items()
            if old.get(frontend) != endpoints
        }
        changed |= {gone: frozenset() for gone in old.keys() - after.udp_endpoints.keys()}
        if changed:
            try:
                await asyncio.to_thread(
                    forget_stale, changed, settings.local_addresses, settings.family
                )
            except OSError as error:
                log.warning("cannot clean up UDP flows", extra={"reason": str(error)})

    async def _open_firewall(self) -> None:
        if self._check_firewall:
            self._check_firewall = False
            for family in self._families:
                await family.firewall.open()
        if self._check_tables and self._tables_timer is None:
            self._check_tables = False
            # A program that changes its table all the time must not have it read all the time.
            loop = asyncio.get_running_loop()
            self._tables_timer = loop.call_later(FOREIGN_SECONDS, self._tables_rested)
            await self._tell_of_droppers()

    def _tables_rested(self) -> None:
        self._tables_timer = None
        if self._check_tables:
            self._wake.set()

    async def _tell_of_droppers(self) -> None:
        """Report the tables of other programs that drop what pods send: no rule of ours overrules a drop."""
        listed = await self._nftables.run(LIST_TABLES)
        found: set[str] = set()
        for name in _foreign_tables(listed):
            with suppress(RulesRefused):  # removed meanwhile
                body = await self._nftables.run(f"list table {name}\n")
                for family in self._families:
                    settings = family.settings
                    work = partial(droppers, body, settings.bridge, settings.family)
                    found.update(await self._offload.run(len(body), work))
        for table in sorted(found - self._droppers):
            bridge = self._families[0].settings.bridge
            message = DROPS.format(table=table, bridge=bridge)
            log.warning(message)
            if (node := self._nodes.get(self._node_name)) is not None:
                self._events.event(node, WARNING, "ForeignFirewall", message)
        self._droppers = found


def _foreign_tables(listed: str) -> list[str]:
    """Return family and name of the tables of others that can drop packets of a family, as `nft list tables` prints."""
    lines = [line.removeprefix("table ") for line in listed.splitlines()]
    return [
        line
        for line in lines
        if line.startswith(("ip ", "ip6 ", "inet ")) and line.partition(" ")[2] != TABLE
    ]


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
