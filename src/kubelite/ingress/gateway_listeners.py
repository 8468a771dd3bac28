"""The listeners of Gateways: whether each can be served, by which certificates, and what is told of it. Pure.

All Gateways share the nodes' addresses, so a port has one protocol, and a host name on it belongs to the older Gateway.
Packets to a port that a Service has on the nodes never reach a listener.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kubelite.api.kinds.core.services import Service
from kubelite.ingress.gateway_conditions import Conditions
from kubelite.ingress.gateway_grants import Reference, is_granted
from kubelite.ingress.gateway_objects import (
    CONTROLLER,
    GROUP,
    BackendTLSPolicy,
    Gateway,
    GatewayClass,
    GatewayListener,
    HTTPRoute,
    Meta,
    ObjectRef,
    ReferenceGrant,
)
from kubelite.ingress.gateway_policies import Authority
from kubelite.ingress.plan import SecretKey
from kubelite.ingress.routes import ANY_DEPTH, Scope
from kubelite.limits import GATEWAY_PORTS, INGRESS_SECRETS

ROUTE_KIND = {"group": GROUP, "kind": "HTTPRoute"}
ADDRESSES_MAX = 16  # of a status, by its schema
PROTOCOLS = {"HTTP": False, "HTTPS": True}  # those that are served, and whether by TLS


class Chain(Struct, frozen=True):
    """What is known of a Secret with a certificate."""

    problem: str = ""  # why it cannot be used
    names: tuple[str, ...] = ()  # host names of the certificate, in lower case


class World(Struct, frozen=True, kw_only=True):
    """All that a plan is made of."""

    classes: Sequence[GatewayClass] = ()
    gateways: Sequence[Gateway] = ()
    routes: Sequence[HTTPRoute] = ()
    grants: Sequence[ReferenceGrant] = ()
    policies: Sequence[BackendTLSPolicy] = ()
    authorities: Mapping[SecretKey, Authority] = {}  # the ConfigMaps of policies
    namespaces: Mapping[str, Mapping[str, str]] = {}  # labels by name
    services: Mapping[tuple[str, str], Service] = {}  # by namespace and name
    chains: Mapping[SecretKey, Chain] = {}  # of the Secrets of `certificate_secrets`
    addresses: Sequence[str] = ()  # of the nodes; used for statuses only
    http_port: int = 80
    https_port: int = 443
    own_ports: Mapping[int, str] = {}  # that kubelite's other servers have, and whose each is
    bundle_version: str = ""  # of the definitions


class ListenerTerms(Struct, frozen=True):
    """The host names of a port that get the certificate of a Secret."""

    secret: SecretKey
    hosts: tuple[str, ...]
    port: int


class Listener:
    """A listener, and what is found of it."""

    def __init__(self, gateway: Gateway, spec: GatewayListener) -> None:
        self.gateway = gateway
        self.spec = spec
        self.scope = pattern_of(spec.hostname)
        self.conflict = ""  # the reason
        self.refusal = ""  # why it is not accepted
        self.message = ""  # of the refusal
        self.unresolved = ""  # the reason why a certificate is not used
        self.unresolved_message = ""
        self.terms: list[ListenerTerms] = []
        self.attached = 0
        asked = spec.allowed_routes.kinds
        self.serves_routes = not asked or any(
            (one.group, one.kind) == (GROUP, "HTTPRoute") for one in asked
        )
        if any((one.group, one.kind) != (GROUP, "HTTPRoute") for one in asked):
            self.unresolved = "InvalidRouteKinds"

    @property
    def is_https(self) -> bool:
        """Whether it ends TLS."""
        return self.spec.protocol == "HTTPS"

    @property
    def is_accepted(self) -> bool:
        """Whether nothing but a reference can keep it from being served."""
        return not self.conflict and not self.refusal

    @property
    def is_served(self) -> bool:
        """Whether nodes listen for it: with TLS it needs a certificate."""
        return self.is_accepted and (not self.is_https or bool(self.terms))

    @property
    def is_ready(self) -> bool:
        """Whether all that it asks for is served."""
        return self.is_served and not self.unresolved

    def refuse(self, reason: str, message: str = "") -> None:
        """Note why it is not accepted."""
        self.refusal, self.message = reason, message

    def status(self) -> Mapping[str, Any]:
        """Return its status, without dates."""
        conditions = Conditions(self.gateway.metadata.generation)
        refusal = self.conflict or self.refusal
        conditions.add("Accepted", refusal or "Accepted", self.message, is_true=not refusal)
        is_ready = self.is_ready
        conditions.add("Programmed", "Programmed" if is_ready else "Invalid", is_true=is_ready)
        conditions.add(
            "ResolvedRefs",
            self.unresolved or "ResolvedRefs",
            self.unresolved_message,
            is_true=not self.unresolved,
        )
        conditions.add("Conflicted", self.conflict or "NoConflicts", is_true=bool(self.conflict))
        return {
            "name": self.spec.name,
            "supportedKinds": [ROUTE_KIND] if self.serves_routes else [],
            "attachedRoutes": self.attached,
            "conditions": conditions.found,
        }


def own_gateways(world: World) -> list[Gateway]:
    """Return the Gateways of kubelite's classes, the oldest first."""
    own = {
        one.metadata.name
        for one in world.classes
        if one.spec.controller_name == CONTROLLER and one.spec.parameters_ref is None
    }
    found = [
        one
        for one in world.gateways
        if one.spec.gateway_class_name in own and not one.metadata.deletion_timestamp
    ]
    return sorted(found, key=lambda one: order_of(one.metadata))


def certificate_secrets(world: World) -> frozenset[SecretKey]:
    """Return the Secrets that listeners may read: those that they name, and only with the grants that this needs."""
    found: dict[SecretKey, None] = {}
    for gateway in own_gateways(world):
        for spec in gateway.spec.listeners:
            if spec.protocol == "HTTPS" and spec.tls is not None and spec.tls.mode == "Terminate":
                for ref in spec.tls.certificate_refs:
                    if not _ref_problem(world, gateway, ref)[0]:
                        found[ref.namespace or gateway.metadata.namespace, ref.name] = None
    if len(found) > INGRESS_SECRETS.value:
        INGRESS_SECRETS.reached()
    return frozenset(list(found)[: INGRESS_SECRETS.value])


def listeners_of(world: World) -> dict[tuple[str, str], list[Listener]]:
    """Return the listeners of each Gateway by its namespace and name, the oldest Gateway first."""
    found = {
        (one.metadata.namespace, one.metadata.name): [
            Listener(one, listener) for listener in one.spec.listeners
        ]
        for one in own_gateways(world)
    }
    for listeners in found.values():
        _find_conflicts(listeners)
    every = [one for listeners in found.values() for one in listeners]
    _judge(world, every)
    for one in every:
        if one.is_https and one.is_accepted:
            _resolve(world, one)
    return found


def _find_conflicts(listeners: Sequence[Listener]) -> None:
    """Mark the listeners of one Gateway that cannot be told apart."""
    for one in listeners:
        for other in listeners:
            if one is other or one.spec.port != other.spec.port:
                continue
            if one.spec.protocol != other.spec.protocol:
                one.conflict = "ProtocolConflict"
            elif one.scope == other.scope:
                one.conflict = one.conflict or "HostnameConflict"


def _judge(world: World, listeners: Iterable[Listener]) -> None:
    """Find the listeners that cannot be served beside what has their ports, and beside older ones."""
    protocols = {world.http_port: "HTTP", world.https_port: "HTTPS"}
    own = len(protocols)
    hosts: dict[tuple[int, str], Gateway] = {}  # host names, and the Gateway that has them
    held = {
        port: f"service {namespace}/{name}"
        for (namespace, name), service in world.services.items()
        for port in held_ports(service)
    }
    held.update(world.own_ports)
    for one in listeners:
        spec = one.spec
        if one.conflict:
            continue
        if spec.protocol not in PROTOCOLS:
            one.refuse("UnsupportedProtocol")
        elif spec.port in held:
            one.refuse(
                "PortUnavailable", f"port {spec.port} of the nodes is in use by {held[spec.port]}"
            )
        elif one.is_https and spec.tls is not None and spec.tls.mode != "Terminate":
            one.refuse("UnsupportedValue", f"TLS mode {spec.tls.mode} with HTTPS")
        elif protocols.get(spec.port, spec.protocol) != spec.protocol:
            if spec.port in (world.http_port, world.https_port):
                text = f"port {spec.port} of the nodes serves {protocols[spec.port]}"
                one.refuse("PortUnavailable", text)
            else:
                one.conflict = "ProtocolConflict"
        elif spec.port not in protocols and len(protocols) - own >= GATEWAY_PORTS.value:
            GATEWAY_PORTS.reached()
            one.refuse("PortUnavailable", "Gateways have too many ports besides")
        elif one.scope and hosts.setdefault((spec.port, one.scope), one.gateway) is not one.gateway:
            one.conflict = "HostnameConflict"
        else:
            protocols[spec.port] = spec.protocol


def held_ports(service: Service | None) -> frozenset[int]:
    """Return the TCP ports that a Service has on the nodes."""
    if service is None:
        return frozenset()
    found = {
        port.nodePort for port in service.spec.ports if port.nodePort and port.protocol != "UDP"
    }
    found.add(service.spec.healthCheckNodePort or 0)
    if service.spec.type == "LoadBalancer":
        found.update(
            held.port
            for entry in service.status.loadBalancer.ingress
            for held in entry.ports
            if held.protocol == "TCP"
        )
    return frozenset(found - {0})


def _resolve(world: World, one: Listener) -> None:
    """Find the certificates of a listener; those that cannot be used are told of, and the others served."""
    refs = one.spec.tls.certificate_refs if one.spec.tls is not None else []
    problem = ("InvalidCertificateRef", "a listener of HTTPS needs certificateRefs")
    problems = [] if refs else [problem]
    taken: set[str] = set()
    for ref in refs:
        reason, message = _ref_problem(world, one.gateway, ref)
        key = ref.namespace or one.gateway.metadata.namespace, ref.name
        chain = world.chains.get(key, Chain("it does not exist"))
        if not reason and chain.problem:
            reason = "InvalidCertificateRef"
            message = f"Secret {key[0]}/{key[1]} cannot be used: {chain.problem}"
        if reason:
            problems.append((reason, message))
            continue
        # The first one is for all names of the listener, further ones are for those that they are made for.
        hosts = [one.scope] if not one.terms else []
        names = [name for name in chain.names if covers(one.spec.hostname, name)]
        hosts += [name for name in names if name not in taken and name not in hosts]
        taken.update(hosts)
        one.terms.append(ListenerTerms(key, tuple(hosts), one.spec.port))
    if problems and not one.unresolved:
        one.unresolved, one.unresolved_message = problems[0]


def _ref_problem(world: World, gateway: Gateway, ref: ObjectRef) -> tuple[str, str]:
    """Return why a Gateway may not use a Secret, as reason and message."""
    if (ref.group, ref.kind) != ("", "Secret"):
        return "InvalidCertificateRef", f"{ref.kind}.{ref.group or 'core'} is no Secret"
    own = gateway.metadata.namespace
    wanted = Reference("Gateway", own, "", "Secret", ref.namespace or own, ref.name)
    if not is_granted(wanted, world.grants):
        text = f"no ReferenceGrant permits the reference to Secret {ref.namespace}/{ref.name}"
        return "RefNotPermitted", text
    return "", ""


def gateway_status(
    gateway: Gateway, listeners: Sequence[Listener], addresses: Sequence[str]
) -> Mapping[str, Any]:
    """Return the status of a Gateway, without dates; `addresses` are those of the nodes."""
    conditions = Conditions(gateway.metadata.generation)
    addresses = list(addresses[:ADDRESSES_MAX])
    asked = gateway.spec.addresses
    if any(one.type != "IPAddress" for one in asked):
        refusal = "UnsupportedAddress"
    elif not any(one.is_accepted for one in listeners):
        refusal = "ListenersNotValid"
    else:
        refusal = ""
    if refusal:
        conditions.add("Accepted", refusal, is_true=False)
        conditions.add("Programmed", "Invalid", is_true=False)
    else:
        is_whole = all(one.is_ready for one in listeners)
        conditions.add("Accepted", "Accepted" if is_whole else "ListenersNotValid")
        if not any(one.is_served for one in listeners):
            conditions.add("Programmed", "Invalid", is_true=False)
        elif {one.value for one in asked if one.value} - set(addresses):
            conditions.add("Programmed", "AddressNotUsable", is_true=False)
        elif not addresses:
            conditions.add("Programmed", "AddressNotAssigned", is_true=False)
        else:
            conditions.add("Programmed", "Programmed")
    return {
        "addresses": [{"type": "IPAddress", "value": one} for one in addresses],
        "conditions": conditions.found,
        "listeners": [one.status() for one in listeners],
    }


def scopes_of(world: World, listeners: Iterable[Listener]) -> tuple[Scope, ...]:
    """Return what is listened for."""
    own = world.http_port, world.https_port
    found = {
        Scope(one.spec.port, one.scope, is_extra=one.spec.port not in own)
        for one in listeners
        if one.is_served
    }
    return tuple(sorted(found, key=lambda one: (one.port, one.host)))


def order_of(metadata: Meta) -> tuple[str, str, str]:
    """Return the place in the order of the specification: the oldest first, then by namespace and name."""
    return (metadata.creation_timestamp, metadata.namespace, metadata.name)


def pattern_of(hostname: str) -> str:
    """Return host names as routes have them: a wildcard of the Gateway API stands for one label or more."""
    return ANY_DEPTH + hostname[2:] if hostname.startswith("*.") else hostname


def covers(pattern: str, host: str) -> bool:
    """Return whether all names of `host` are among those of `pattern`; both may be wildcards, "" is all."""
    if not pattern or pattern == host:
        return True
    return pattern.startswith("*.") and host.endswith(pattern[1:]) and host != pattern[1:]
