"""A node's ingress: follows Ingresses, Services, endpoints and Secrets, and tells the proxy what it needs to know."""

import asyncio
import logging
from collections.abc import Callable

from msgspec.structs import replace

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.networking import Ingress, IngressClass
from kubelite.api.machinery.ingress_classes import own_classes
from kubelite.ingress.chains import Chains, authority_of
from kubelite.ingress.counts import record
from kubelite.ingress.front import Front, FrontSettings
from kubelite.ingress.gateway_listeners import World, certificate_secrets, held_ports
from kubelite.ingress.gateway_plan import GatewayPlan
from kubelite.ingress.gateway_plan import plan as plan_gateways
from kubelite.ingress.gateway_policies import authorities_of, policy_for
from kubelite.ingress.gateway_signal import GatewaySignal
from kubelite.ingress.messages import Certificate
from kubelite.ingress.plan import (
    BackendPort,
    Plan,
    SecretKey,
    endpoints_of,
    plan,
    port_of,
    speech_of,
)
from kubelite.ingress.secrets import CertificateSecrets, ObjectsByName
from kubelite.offload import Offload
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

ROUND_SECONDS = 0.03  # at least between two rounds; the first begins at once
RETRY_SECONDS = 5.0  # for a right that the API has not noticed yet
MISSING_SECONDS = 5.0  # after which a Secret that does not exist is told of
ROUTE_COST_BYTES = 2048  # what the offload counts for a path of an Ingress
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
SERVICE_INDEX = "ingress-service"

ServiceKey = tuple[str, str]  # namespace and name


class IngressService:
    """See the module."""

    def __init__(
        self,
        *,
        node: Client,
        network: Client,
        node_name: str,
        events: EventRecorder,
        offload: Offload,
        settings: FrontSettings,
        default_certificate: Callable[[], bytes],
    ) -> None:
        """`node` reads the Secrets, `network` all else and writes the events; `default_certificate` blocks."""
        self._node_name = node_name
        self._settings = settings
        self._events = events
        self._offload = offload
        self._default_certificate = default_certificate
        self._ingresses = network.mirror(Ingress)
        self._classes = network.mirror(IngressClass)
        self._services = network.mirror(Service)
        self._slices = network.mirror(EndpointSlice)
        self._slices.add_index(SERVICE_INDEX, _service_of)
        self._secrets = CertificateSecrets(node, self._secret_changed)
        self._authorities = ObjectsByName(node, ConfigMap, self._replan)
        self._wake = asyncio.Event()
        self._gateways = GatewaySignal(network, self._replan)
        self._plan = Plan()
        self._gateway_plan = GatewayPlan()
        self._backends: dict[ServiceKey, list[BackendPort]] = {}
        self._chains = Chains(self._secrets)
        self._of_gateways: frozenset[SecretKey] = frozenset()  # the Secrets that they may read
        self._told: dict[tuple[str, SecretKey], str] = {}
        self._is_planned = False
        self._are_certificates_current = False
        self._dirty: set[ServiceKey] = set()
        self.front = Front(settings, counted=record, taken=self._port_taken)

    async def run(self) -> None:
        """Serve until cancelled."""
        for mirror in (self._ingresses, self._classes, self._services, self._slices):
            await mirror.synced()
        await self._gateways.synced()
        self._default = await asyncio.to_thread(self._default_certificate)
        self._is_planned = False
        ends = [
            self._ingresses.subscribe(self._ingress_changed),
            self._classes.subscribe(lambda *_: self._replan()),
            self._services.subscribe(self._service_changed),
            self._slices.subscribe(self._slice_changed),
        ]
        tasks = TaskSet()
        try:
            await self._round()
            tasks.supervise(self.front.run, name="ingress proxy")
            while True:
                await asyncio.sleep(ROUND_SECONDS)
                await self._wake.wait()
                await self._round()
        finally:
            for end in ends:
                end()
            await tasks.stop()
            self._secrets.close()
            self._authorities.close()
            self._gateways.close()

    # Changes

    def _replan(self) -> None:
        self._is_planned = False
        self._wake.set()

    def _ingress_changed(self, before: Ingress | None, after: Ingress | None) -> None:
        if before is not None and after is not None and _is_alike(before, after):
            return  # a status, as this cluster itself writes it
        self._replan()

    def _service_changed(self, before: Service | None, after: Service | None) -> None:
        item, is_other = after or before, _differ(before, after)
        if item is not None and is_other:
            self._mark((item.metadata.namespace, item.metadata.name))
        # A backend that does not exist is answered for otherwise, and ports may be taken.
        if self._has_gateways and (is_other or held_ports(before) != held_ports(after)):
            self._replan()

    def _slice_changed(self, before: EndpointSlice | None, after: EndpointSlice | None) -> None:
        for item in (before, after):
            for key in _service_of(item) if item is not None else ():
                namespace, _, name = key.partition("/")
                self._mark((namespace, name))

    @property
    def _has_gateways(self) -> bool:
        objects = self._gateways.objects
        return objects is not None and not objects.is_empty

    def _mark(self, key: ServiceKey) -> None:
        if key in self._backends:
            self._dirty.add(key)
            self._wake.set()

    def _secret_changed(self) -> None:
        self._are_certificates_current = False
        if self._of_gateways:
            self._is_planned = False  # a listener without a certificate is not served
        self._wake.set()

    # Rounds

    async def _round(self) -> None:
        self._wake.clear()
        if not self._is_planned:
            self._is_planned = True
            await self._make_plan()
        dirty, self._dirty = self._dirty, set()
        changes, speeches = {}, {}
        for namespace, name in dirty:
            service = self._services.get(name, namespace)
            slices = self._slices.indexed(SERVICE_INDEX, f"{namespace}/{name}")
            for backend in self._backends.get((namespace, name), ()):
                found = endpoints_of(backend, service, slices)
                port = port_of(backend, service)
                policy = policy_for(
                    self._gateway_plan.policies, namespace, name, port.name if port else ""
                )
                # Without anybody to trust there is nobody to speak to.
                changes[backend.key] = () if policy is not None and policy.tls is None else found
                speeches[backend.key] = speech_of(
                    backend, service, policy.tls if policy is not None else None
                )
        self.front.use_endpoints(changes, speeches)
        gateways = self._gateway_plan
        self.front.use_routes((*self._plan.routes, *gateways.routes), gateways.scopes)
        self.front.use_ports(gateways.extra_ports)
        if not self._are_certificates_current:
            self._are_certificates_current = True
            await self._use_certificates()

    async def _make_plan(self) -> None:
        ingresses, own = self._ingresses.list(), own_classes(self._classes.list())
        cost = ROUTE_COST_BYTES * sum(1 + len(one.spec.rules) for one in ingresses)
        before = self._plan.backends | self._gateway_plan.backends
        self._plan = await self._offload.run(cost, lambda: plan(ingresses, own))
        objects = self._gateways.objects
        is_wanted = objects is not None and (not objects.is_empty or objects.has_policies)
        snapshot = objects.snapshot() if objects is not None and is_wanted else None
        world = await self._offload.run(
            ROUTE_COST_BYTES * snapshot.size if snapshot else 0,
            lambda: snapshot.world() if snapshot is not None else World(),
        )
        self._of_gateways = certificate_secrets(world)
        wanted = {*(terms.secret for terms in self._plan.terms), *self._of_gateways}
        are_followed = self._secrets.follow(wanted)
        if not self._authorities.follow(authorities_of(world.policies)) or not are_followed:
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._replan)
        self._gateway_plan = await self._plan_gateways(world) if snapshot else GatewayPlan()
        backends = self._plan.backends | self._gateway_plan.backends
        self._backends = {}
        for backend in backends:
            key = backend.namespace, backend.service
            self._backends.setdefault(key, []).append(backend)
        self._dirty |= self._backends.keys()
        self.front.use_endpoints({one.key: () for one in before - backends})
        self._are_certificates_current = False

    async def _plan_gateways(self, world: World) -> GatewayPlan:
        settings = self._settings
        whole = replace(
            world,
            services={
                (one.metadata.namespace, one.metadata.name): one for one in self._services.list()
            },
            authorities={
                key: authority_of(self._authorities.get(key))
                for key in authorities_of(world.policies)
            },
            chains=await self._chains.check(self._known_secrets()),
            http_port=settings.http_port,
            https_port=settings.https_port,
            own_ports=settings.own_ports,
        )
        cost = ROUTE_COST_BYTES * (len(world.routes) + len(world.gateways))
        return await self._offload.run(cost, lambda: plan_gateways(whole))

    def _known_secrets(self) -> list[SecretKey]:
        return [*(terms.secret for terms in self._plan.terms), *self._of_gateways]

    async def _use_certificates(self) -> None:
        found = []
        chains = await self._chains.check(self._known_secrets())
        for terms in self._plan.terms:
            problem, pem = chains[terms.secret].problem, self._secrets.pem(terms.secret)
            if not problem and pem:
                found.append(Certificate(terms.hosts, pem))
            self._tell(terms.ingress, terms.secret, problem)
        found += [
            Certificate(one.hosts, pem, one.port)
            for one in self._gateway_plan.terms
            if (pem := self._secrets.pem(one.secret)) and not chains[one.secret].problem
        ]
        self.front.use_certificates(self._default, found)

    # What is told

    def _tell(self, ingress: str, secret: SecretKey, problem: str) -> None:
        """Record an event about a Secret that cannot be used; about a missing one only if it stays so."""
        key = ingress, secret
        if self._told.get(key, "") == problem:
            return
        self._told[key] = problem
        if not problem:
            del self._told[key]
            return
        delay = MISSING_SECONDS if self._secrets.pem(secret) is None else 0.0
        asyncio.get_running_loop().call_later(delay, self._tell_now, key, problem)

    def _tell_now(self, key: tuple[str, SecretKey], problem: str) -> None:
        ingress, (namespace, name) = key
        found = self._ingresses.get(ingress.partition("/")[2], namespace)
        if found is not None and self._told.get(key) == problem:
            text = f"Secret {namespace}/{name} cannot be used for TLS on node {self._node_name}: {problem}"
            self._events.event(found, WARNING, "InvalidCertificate", text)

    def _port_taken(self, port: int) -> None:
        text = (
            f"Ingresses are not served on port {port}: it is in use by another program of the node"
        )
        log.warning("a port of the ingress is in use by another program", extra={"port": port})
        node = ObjectReference(kind="Node", name=self._node_name, uid=self._node_name)
        self._events.event(node, WARNING, "IngressPortTaken", text)


def _differ(before: Service | None, after: Service | None) -> bool:
    return before is None or after is None or before.spec != after.spec


def _is_alike(before: Ingress, after: Ingress) -> bool:
    old, new = before.metadata, after.metadata
    return (
        before.spec == after.spec
        and old.annotations == new.annotations
        and old.uid == new.uid
        and old.deletionTimestamp == new.deletionTimestamp
    )


def _service_of(entry: EndpointSlice) -> list[str]:
    name = entry.metadata.labels.get(SERVICE_NAME_LABEL, "")
    return [f"{entry.metadata.namespace}/{name}"] if name else []
