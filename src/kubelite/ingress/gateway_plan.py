"""What Gateways and HTTPRoutes ask for: their routes and backends, and the conditions of all of them. Pure.

All Gateways share the nodes' ports. A host name belongs to the listener that names it most closely; one name of two
Gateways belongs to the older one's, while any number of listeners may serve all names. A reference into another
namespace needs a ReferenceGrant there each time that a plan is made, so one that is revoked ends with the next plan.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kubelite.api.kinds.core.services import Service
from kubelite.ingress.gateway_conditions import Conditions, condition, status_of_class
from kubelite.ingress.gateway_filters import Unsupported, actions_of, conditions_of, seconds_of
from kubelite.ingress.gateway_objects import (
    CONTROLLER,
    GROUP,
    BackendRef,
    Gateway,
    GatewayClass,
    GatewayListener,
    HTTPRoute,
    LabelSelector,
    Meta,
    ParentRef,
    ReferenceGrant,
    RouteMatch,
)
from kubelite.ingress.plan import READ_SECONDS, BackendPort, backend_problem, port_of
from kubelite.ingress.routes import ANY_DEPTH, Backend, Route
from kubelite.limits import GATEWAY_ROUTES, GATEWAY_ROUTES_PER_HTTP_ROUTE

ROUTE_KIND = {"group": GROUP, "kind": "HTTPRoute"}
ADDRESSES_MAX = 16  # of a status, by its schema

ObjectKey = tuple[str, str, str]  # plural, namespace and name


class World(Struct, frozen=True, kw_only=True):
    """All that a plan is made of."""

    classes: Sequence[GatewayClass] = ()
    gateways: Sequence[Gateway] = ()
    routes: Sequence[HTTPRoute] = ()
    grants: Sequence[ReferenceGrant] = ()
    namespaces: Mapping[str, Mapping[str, str]] = {}  # labels by name
    services: Mapping[tuple[str, str], Service] = {}  # by namespace and name
    addresses: Sequence[str] = ()  # of the nodes; used for statuses only
    http_port: int = 80
    bundle_version: str = ""  # of the definitions


class GatewayPlan(Struct, frozen=True):
    """The whole."""

    routes: tuple[Route, ...] = ()
    scopes: tuple[str, ...] = ()  # host names of the listeners that are served
    backends: frozenset[BackendPort] = frozenset()
    statuses: Mapping[ObjectKey, Mapping[str, Any]] = {}  # without dates


class _Listener:
    """A listener, and what is found of it."""

    def __init__(self, gateway: Gateway, spec: GatewayListener) -> None:
        self.gateway = gateway
        self.spec = spec
        self.scope = _pattern(spec.hostname)
        self.conflict = ""  # the reason
        self.refusal = ""  # why it is not accepted
        self.attached = 0
        asked = spec.allowed_routes.kinds
        self.serves_routes = not asked or any(
            (one.group, one.kind) == (GROUP, "HTTPRoute") for one in asked
        )
        self.has_other_kinds = any((one.group, one.kind) != (GROUP, "HTTPRoute") for one in asked)

    @property
    def is_served(self) -> bool:
        return not self.conflict and not self.refusal

    @property
    def is_ready(self) -> bool:
        return self.is_served and not self.has_other_kinds


def plan(world: World) -> GatewayPlan:
    """Return what is routed, and the status of each object of kubelite's."""
    return _Draft(world).plan()


def order_of(metadata: Meta) -> tuple[str, str, str]:
    """Return the place in the order of the specification: the oldest first, then by namespace and name."""
    return (metadata.creation_timestamp, metadata.namespace, metadata.name)


class _Draft:
    """What is decided so far."""

    def __init__(self, world: World) -> None:
        self.world = world
        classes = [one for one in world.classes if one.spec.controller_name == CONTROLLER]
        self.statuses: dict[ObjectKey, Mapping[str, Any]] = {
            ("gatewayclasses", "", one.metadata.name): status_of_class(one, world.bundle_version)
            for one in classes
        }
        own = {one.metadata.name for one in classes if one.spec.parameters_ref is None}
        gateways = [
            one
            for one in world.gateways
            if one.spec.gateway_class_name in own and not one.metadata.deletion_timestamp
        ]
        self.gateways = {
            (one.metadata.namespace, one.metadata.name): [
                _Listener(one, listener) for listener in one.spec.listeners
            ]
            for one in sorted(gateways, key=lambda one: order_of(one.metadata))
        }
        self.routes: list[Route] = []
        self.backends: set[BackendPort] = set()

    def plan(self) -> GatewayPlan:
        listeners = [one for found in self.gateways.values() for one in found]
        for found in self.gateways.values():
            _find_conflicts(found)
        self._judge(listeners)
        for route in sorted(self.world.routes, key=lambda one: order_of(one.metadata)):
            if not route.metadata.deletion_timestamp:
                self._add(route)
        for (namespace, name), found in self.gateways.items():
            gateway = next(
                one
                for one in self.world.gateways
                if (one.metadata.namespace, one.metadata.name) == (namespace, name)
            )
            self.statuses["gateways", namespace, name] = self._gateway_status(gateway, found)
        scopes = {one.scope for one in listeners if one.is_served}
        return GatewayPlan(
            tuple(self.routes), tuple(sorted(scopes)), frozenset(self.backends), self.statuses
        )

    # Listeners

    def _judge(self, listeners: Iterable[_Listener]) -> None:
        held: dict[str, Gateway] = {}  # host names, and the Gateway that has them
        for one in listeners:
            if one.conflict:
                continue
            if one.spec.protocol != "HTTP":
                one.refusal = "UnsupportedProtocol"
            elif one.spec.port != self.world.http_port:
                one.refusal = "PortUnavailable"
            elif one.spec.hostname and held.setdefault(one.scope, one.gateway) is not one.gateway:
                one.conflict = "HostnameConflict"

    def _gateway_status(self, gateway: Gateway, found: Sequence[_Listener]) -> Mapping[str, Any]:
        conditions = Conditions(gateway.metadata.generation)
        addresses = list(self.world.addresses[:ADDRESSES_MAX])
        asked = gateway.spec.addresses
        if any(one.type != "IPAddress" for one in asked):
            refusal = "UnsupportedAddress"
        elif not any(one.is_served for one in found):
            refusal = "ListenersNotValid"
        else:
            refusal = ""
        if refusal:
            conditions.add("Accepted", refusal, is_true=False)
            conditions.add("Programmed", "Invalid", is_true=False)
        else:
            is_whole = all(one.is_ready for one in found)
            conditions.add("Accepted", "Accepted" if is_whole else "ListenersNotValid")
            if {one.value for one in asked if one.value} - set(addresses):
                conditions.add("Programmed", "AddressNotUsable", is_true=False)
            elif not addresses:
                conditions.add("Programmed", "AddressNotAssigned", is_true=False)
            else:
                conditions.add("Programmed", "Programmed")
        return {
            "addresses": [{"type": "IPAddress", "value": one} for one in addresses],
            "conditions": conditions.found,
            "listeners": [_listener_status(one) for one in found],
        }

    # Routes

    def _add(self, route: HTTPRoute) -> None:
        parents = []
        backends, problem = self._backends(route)
        attached: dict[_Listener, list[str]] = {}
        for parent in route.spec.parent_refs:
            namespace = parent.namespace or route.metadata.namespace
            if (parent.group, parent.kind) != (GROUP, "Gateway"):
                continue
            listeners = self.gateways.get((namespace, parent.name))
            if listeners is None:
                continue
            found, refusal = self._attach(route, parent, listeners)
            conditions = Conditions(route.metadata.generation)
            conditions.add("Accepted", refusal or "Accepted", is_true=not refusal)
            reason, message = problem
            conditions.add("ResolvedRefs", reason or "ResolvedRefs", message, is_true=not reason)
            parents.append(
                {
                    "parentRef": _parent_wire(parent),
                    "controllerName": CONTROLLER,
                    "conditions": conditions.found,
                }
            )
            attached.update(found)
        if attached:
            try:
                self._write(route, attached, backends)
            except Unsupported as error:
                _refuse(parents, str(error), route.metadata.generation)
            else:
                for one in attached:
                    one.attached += 1
        if parents:
            key = "httproutes", route.metadata.namespace, route.metadata.name
            self.statuses[key] = {"parents": parents}

    def _attach(
        self, route: HTTPRoute, parent: ParentRef, listeners: Sequence[_Listener]
    ) -> tuple[dict[_Listener, list[str]], str]:
        """Return the listeners that let a route in, with the host names that it has there, or why there is none."""
        asked = [
            one
            for one in listeners
            if parent.section_name in (None, one.spec.name) and parent.port in (None, one.spec.port)
        ]
        if not asked:
            return {}, "NoMatchingParent"
        allowed = [one for one in asked if one.serves_routes and self._lets_in(one, route)]
        if not allowed:
            return {}, "NotAllowedByListeners"
        found = {one: common_hosts(one.spec.hostname, route.spec.hostnames) for one in allowed}
        found = {one: hosts for one, hosts in found.items() if hosts}
        return found, "" if found else "NoMatchingListenerHostname"

    def _lets_in(self, listener: _Listener, route: HTTPRoute) -> bool:
        namespaces = listener.spec.allowed_routes.namespaces
        namespace = route.metadata.namespace
        if namespaces.from_ == "All":
            return True
        if namespaces.from_ == "Selector" and namespaces.selector is not None:
            labels = self.world.namespaces.get(namespace)
            return labels is not None and selects(namespaces.selector, labels)
        return namespaces.from_ == "Same" and namespace == listener.gateway.metadata.namespace

    def _write(
        self,
        route: HTTPRoute,
        attached: Mapping[_Listener, Sequence[str]],
        backends: Sequence[Sequence[Backend]],
    ) -> None:
        """Add the routes of all rules. Raises Unsupported, and then adds none."""
        owner = f"{route.metadata.namespace}/{route.metadata.name}"
        written: list[Route] = []
        places = [
            (one.scope, host) for one, hosts in attached.items() if one.is_served for host in hosts
        ]
        for rule, shares in zip(route.spec.rules, backends, strict=True):
            if any(one.filters for one in rule.backend_refs):
                raise Unsupported("filters of backends")
            actions, seconds = actions_of(rule), seconds_of(rule)
            for match in rule.matches or [RouteMatch()]:
                asked = conditions_of(match)
                written += [
                    Route(
                        owner=owner,
                        host=_pattern(host),
                        scope=scope,
                        is_http_only=True,
                        path=asked.path,
                        is_exact=asked.is_exact,
                        method=asked.method,
                        headers=asked.headers,
                        queries=asked.queries,
                        backends=tuple(shares),
                        read_seconds=READ_SECONDS,
                        total_seconds=seconds,
                        request_edits=actions.request_edits,
                        response_edits=actions.response_edits,
                        redirect=actions.redirect,
                        rewrite=actions.rewrite,
                    )
                    for scope, host in dict.fromkeys(places)
                ]
                if len(written) > GATEWAY_ROUTES_PER_HTTP_ROUTE.value:
                    GATEWAY_ROUTES_PER_HTTP_ROUTE.reached()
                    raise Unsupported("too many matches and host names")
        if len(self.routes) + len(written) > GATEWAY_ROUTES.value:
            GATEWAY_ROUTES.reached()
            raise Unsupported("there are too many routes in the cluster")
        self.routes += written
        self.backends |= {
            _backend_port(route, ref)
            for rule, shares in zip(route.spec.rules, backends, strict=True)
            for ref, share in zip(rule.backend_refs, shares, strict=True)
            if share.key
        }

    # Backends

    def _backends(self, route: HTTPRoute) -> tuple[list[list[Backend]], tuple[str, str]]:
        """Return the shares of each rule, and reason and message of the first reference that is not resolved."""
        found, first = [], ("", "")
        for rule in route.spec.rules:
            shares = []
            for ref in rule.backend_refs:
                problem = self._problem(route, ref)
                first = first if first[0] else problem
                key = "" if problem[0] else _backend_port(route, ref).key
                shares.append(Backend(key, max(0, ref.weight)))
            found.append(shares)
        return found, first

    def _problem(self, route: HTTPRoute, ref: BackendRef) -> tuple[str, str]:
        if (ref.group, ref.kind) != ("", "Service"):
            return "InvalidKind", f"{ref.kind}.{ref.group or 'core'} is no Service"
        backend = _backend_port(route, ref)
        name = f"Service {backend.namespace}/{backend.service}"
        # Whether the Service exists is nobody's business who has no grant.
        if backend.namespace != route.metadata.namespace and not self._is_granted(route, backend):
            return "RefNotPermitted", f"no ReferenceGrant permits the reference to {name}"
        service = self.world.services.get((backend.namespace, backend.service))
        if service is None:
            return "BackendNotFound", f"{name} does not exist"
        if service.spec.type != "ExternalName" and port_of(backend, service) is None:
            return "BackendNotFound", f"{name} has no TCP port {backend.number}"
        message = backend_problem(backend, service)
        return ("UnsupportedProtocol" if message else "", message)

    def _is_granted(self, route: HTTPRoute, backend: BackendPort) -> bool:
        return any(
            grant.metadata.namespace == backend.namespace
            and not grant.metadata.deletion_timestamp
            and any(
                (one.group, one.kind, one.namespace)
                == (GROUP, "HTTPRoute", route.metadata.namespace)
                for one in grant.spec.from_
            )
            and any(
                (one.group, one.kind) == ("", "Service") and one.name in ("", backend.service)
                for one in grant.spec.to
            )
            for grant in self.world.grants
        )


def _find_conflicts(listeners: Sequence[_Listener]) -> None:
    """Mark the listeners of one Gateway that cannot be told apart."""
    for one in listeners:
        for other in listeners:
            if one is other or one.spec.port != other.spec.port:
                continue
            if one.spec.protocol != other.spec.protocol:
                one.conflict = "ProtocolConflict"
            elif one.scope == other.scope:
                one.conflict = one.conflict or "HostnameConflict"


def _listener_status(one: _Listener) -> Mapping[str, Any]:
    conditions = Conditions(one.gateway.metadata.generation)
    refusal = one.conflict or one.refusal
    conditions.add("Accepted", refusal or "Accepted", is_true=not refusal)
    conditions.add("Programmed", "Programmed" if one.is_ready else "Invalid", is_true=one.is_ready)
    reason = "InvalidRouteKinds" if one.has_other_kinds else "ResolvedRefs"
    conditions.add("ResolvedRefs", reason, is_true=not one.has_other_kinds)
    conditions.add("Conflicted", one.conflict or "NoConflicts", is_true=bool(one.conflict))
    return {
        "name": one.spec.name,
        "supportedKinds": [ROUTE_KIND] if one.serves_routes else [],
        "attachedRoutes": one.attached,
        "conditions": conditions.found,
    }


def _refuse(parents: Iterable[Mapping[str, Any]], message: str, generation: int) -> None:
    for parent in parents:
        conditions = parent["conditions"]
        if conditions[0]["status"] == "True":
            conditions[0] = condition(
                "Accepted", "UnsupportedValue", message, generation, is_true=False
            )


def _parent_wire(parent: ParentRef) -> Mapping[str, Any]:
    found = {
        "group": parent.group,
        "kind": parent.kind,
        "namespace": parent.namespace,
        "name": parent.name,
        "sectionName": parent.section_name,
        "port": parent.port,
    }
    return {name: value for name, value in found.items() if value is not None}


def _backend_port(route: HTTPRoute, ref: BackendRef) -> BackendPort:
    namespace = ref.namespace or route.metadata.namespace
    return BackendPort(namespace, ref.name, number=ref.port)


def _pattern(hostname: str) -> str:
    """Return host names as routes have them: a wildcard of the Gateway API stands for one label or more."""
    return ANY_DEPTH + hostname[2:] if hostname.startswith("*.") else hostname


def common_hosts(listener: str, asked: Sequence[str]) -> list[str]:
    """Return the host names that a route has at a listener; [""]: all, []: none."""
    if not asked:
        return [listener]
    return list(dict.fromkeys(host for one in asked for host in _common(listener, one)))


def _common(listener: str, asked: str) -> Iterator[str]:
    if not listener or _covers(listener, asked):
        yield asked
    elif _covers(asked, listener):
        yield listener


def _covers(pattern: str, host: str) -> bool:
    """Return whether all names of `host` are among those of `pattern`; both may be wildcards."""
    if pattern == host:
        return True
    return pattern.startswith("*.") and host.endswith(pattern[1:]) and host != pattern[1:]


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Return whether labels fit a selector; one with an unknown operator selects nothing."""
    if any(labels.get(name) != value for name, value in selector.match_labels.items()):
        return False
    for one in selector.match_expressions:
        value = labels.get(one.key)
        fits = {
            "In": value in one.values,
            "NotIn": value not in one.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not fits.get(one.operator, False):
            return False
    return True
