"""What Gateways and HTTPRoutes ask for: their routes and backends, and the conditions of all of them. Pure.

All Gateways share the nodes' ports. A host name belongs to the listener that names it most closely; one name of two
Gateways belongs to the older one's, while any number of listeners may serve all names. A reference into another
namespace needs a ReferenceGrant there each time that a plan is made, so one that is revoked ends with the next plan.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.ingress.gateway_conditions import Conditions, condition, status_of_class
from kubelite.ingress.gateway_filters import (
    Actions,
    Matched,
    Unsupported,
    actions_of,
    conditions_of,
    mirrors_of,
    seconds_of,
)
from kubelite.ingress.gateway_grants import Reference, is_granted
from kubelite.ingress.gateway_listeners import (
    Listener,
    ListenerTerms,
    World,
    covers,
    gateway_status,
    listeners_of,
    order_of,
    pattern_of,
    scopes_of,
)
from kubelite.ingress.gateway_objects import (
    CONTROLLER,
    GROUP,
    HTTPRoute,
    LabelSelector,
    ParentRef,
    RouteMatch,
    ServiceRef,
)
from kubelite.ingress.gateway_policies import Policy, PortKey, decide, in_order, policy_status
from kubelite.ingress.plan import READ_SECONDS, BackendPort, backend_problem, port_of
from kubelite.ingress.routes import Backend, MirroredTo, Route, Scope
from kubelite.limits import GATEWAY_PATTERNS, GATEWAY_ROUTES, GATEWAY_ROUTES_PER_HTTP_ROUTE

ObjectKey = tuple[str, str, str]  # plural, namespace and name
Shares = tuple[list[Backend], list[MirroredTo]]  # of a rule


class GatewayPlan(Struct, frozen=True):
    """The whole."""

    routes: tuple[Route, ...] = ()
    scopes: tuple[Scope, ...] = ()  # the listeners that are served
    backends: frozenset[BackendPort] = frozenset()
    terms: tuple[ListenerTerms, ...] = ()  # those of the oldest Gateway first
    policies: Mapping[PortKey, Policy] = {}  # which hold for Ingresses too
    extra_ports: Mapping[int, bool] = {}  # beside those of Ingresses; whether each is for HTTPS
    statuses: Mapping[ObjectKey, Mapping[str, Any]] = {}  # without dates


def plan(world: World) -> GatewayPlan:
    """Return what is routed, and the status of each object of kubelite's."""
    return _Draft(world).plan()


class _Draft:
    """What is decided so far."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.statuses: dict[ObjectKey, Mapping[str, Any]] = {
            ("gatewayclasses", "", one.metadata.name): status_of_class(one, world.bundle_version)
            for one in world.classes
            if one.spec.controller_name == CONTROLLER
        }
        self.gateways = listeners_of(world)
        self.routes: list[Route] = []
        self.backends: set[BackendPort] = set()
        self.patterns: set[str] = set()
        self.senders: dict[tuple[str, str], dict[tuple[str, str], None]] = {}  # Gateways by Service

    def plan(self) -> GatewayPlan:
        world = self.world
        for route in sorted(world.routes, key=lambda one: order_of(one.metadata)):
            if not route.metadata.deletion_timestamp:
                self._add(route)
        for gateway in world.gateways:
            namespace, name = gateway.metadata.namespace, gateway.metadata.name
            if (found := self.gateways.get((namespace, name))) is not None:
                status = gateway_status(gateway, found, world.addresses)
                self.statuses["gateways", namespace, name] = status
        holds, decided = decide(world.policies, world.authorities)
        for policy in in_order(world.policies):
            key = policy.metadata.namespace, policy.metadata.name
            gateways = [
                sender
                for target in policy.spec.target_refs
                for sender in self.senders.get((key[0], target.name), ())
            ]
            status = policy_status(policy, decided[key], list(dict.fromkeys(gateways)))
            self.statuses["backendtlspolicies", *key] = status
        served = [one for found in self.gateways.values() for one in found if one.is_served]
        scopes = scopes_of(world, served)
        extra = {one.port for one in scopes if one.is_extra}
        return GatewayPlan(
            tuple(self.routes),
            scopes,
            frozenset(self.backends),
            tuple(terms for one in served for terms in one.terms),
            holds,
            {one.spec.port: one.is_https for one in served if one.spec.port in extra},
            self.statuses,
        )

    # Routes

    def _add(self, route: HTTPRoute) -> None:
        parents = []
        backends, problem = self._backends(route)
        attached: dict[Listener, list[str]] = {}
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
        self, route: HTTPRoute, parent: ParentRef, listeners: Sequence[Listener]
    ) -> tuple[dict[Listener, list[str]], str]:
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

    def _lets_in(self, listener: Listener, route: HTTPRoute) -> bool:
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
        attached: Mapping[Listener, Sequence[str]],
        backends: Sequence[Shares],
    ) -> None:
        """Add the routes of all rules. Raises Unsupported, and then adds none."""
        written: list[Route] = []
        places = dict.fromkeys(
            (one.spec.port, one.scope, host)
            for one, hosts in attached.items()
            if one.is_served
            for host in hosts
        )
        patterns = set(self.patterns)
        for rule, shares in zip(route.spec.rules, backends, strict=True):
            if any(one.filters for one in rule.backend_refs):
                raise Unsupported("filters of backends")
            actions, seconds = actions_of(rule), seconds_of(rule)
            for match in rule.matches or [RouteMatch()]:
                asked = conditions_of(match)
                patterns.update(asked.patterns)
                common = _route(route, asked, actions, shares, seconds)
                written += [
                    replace(common, host=pattern_of(host), port=port, scope=scope)
                    for port, scope, host in places
                ]
                if len(written) > GATEWAY_ROUTES_PER_HTTP_ROUTE.value:
                    GATEWAY_ROUTES_PER_HTTP_ROUTE.reached()
                    raise Unsupported("too many matches and host names")
        if len(self.routes) + len(written) > GATEWAY_ROUTES.value:
            GATEWAY_ROUTES.reached()
            raise Unsupported("there are too many routes in the cluster")
        if len(patterns) > max(len(self.patterns), GATEWAY_PATTERNS.value):
            GATEWAY_PATTERNS.reached()
            raise Unsupported("there are too many regular expressions in the cluster")
        self.patterns = patterns
        self.routes += written
        keys = {one.key for shares in backends for each in shares for one in each}
        refs = [ref for rule in route.spec.rules for ref in rule.backend_refs]
        mirrored = [ref for rule in route.spec.rules for ref, _, _ in mirrors_of(rule)]
        backends_used = {
            port for ref in (*refs, *mirrored) if (port := _backend_port(route, ref)).key in keys
        }
        self.backends |= backends_used
        for port in backends_used:
            senders = self.senders.setdefault((port.namespace, port.service), {})
            for one in attached:
                senders[one.gateway.metadata.namespace, one.gateway.metadata.name] = None

    # Backends

    def _backends(self, route: HTTPRoute) -> tuple[list[Shares], tuple[str, str]]:
        """Return the shares of each rule, and reason and message of the first reference that is not resolved."""
        found: list[Shares] = []
        first = "", ""
        for rule in route.spec.rules:
            shares = []
            for ref in rule.backend_refs:
                problem = self._problem(route, ref)
                first = first if first[0] else problem
                key = "" if problem[0] else _backend_port(route, ref).key
                shares.append(Backend(key, max(0, ref.weight)))
            mirrors = []
            for mirrored, numerator, denominator in mirrors_of(rule):
                problem = self._problem(route, mirrored)
                first = first if first[0] else problem
                if not problem[0]:
                    key = _backend_port(route, mirrored).key
                    mirrors.append(MirroredTo(key, numerator, denominator))
            found.append((shares, mirrors))
        return found, first

    def _problem(self, route: HTTPRoute, ref: ServiceRef) -> tuple[str, str]:
        if (ref.group, ref.kind) != ("", "Service"):
            return "InvalidKind", f"{ref.kind}.{ref.group or 'core'} is no Service"
        backend = _backend_port(route, ref)
        name = f"Service {backend.namespace}/{backend.service}"
        # Whether the Service exists is nobody's business who has no grant.
        own = route.metadata.namespace
        wanted = Reference("HTTPRoute", own, "", "Service", backend.namespace, backend.service)
        if not is_granted(wanted, self.world.grants):
            return "RefNotPermitted", f"no ReferenceGrant permits the reference to {name}"
        service = self.world.services.get((backend.namespace, backend.service))
        if service is None:
            return "BackendNotFound", f"{name} does not exist"
        if service.spec.type != "ExternalName" and port_of(backend, service) is None:
            return "BackendNotFound", f"{name} has no TCP port {backend.number}"
        message = backend_problem(backend, service)
        return ("UnsupportedProtocol" if message else "", message)


def _route(
    route: HTTPRoute, asked: Matched, actions: Actions, shares: Shares, seconds: float
) -> Route:
    """Return the route of one match of a rule, which is still to be given its places."""
    return Route(
        owner=f"{route.metadata.namespace}/{route.metadata.name}",
        path=asked.path,
        is_exact=asked.is_exact,
        is_pattern=asked.is_pattern,
        method=asked.method,
        headers=asked.headers,
        queries=asked.queries,
        header_patterns=asked.header_patterns,
        query_patterns=asked.query_patterns,
        backends=tuple(shares[0]),
        mirrors=tuple(shares[1]),
        read_seconds=READ_SECONDS,
        total_seconds=seconds,
        request_edits=actions.request_edits,
        response_edits=actions.response_edits,
        redirect=actions.redirect,
        rewrite=actions.rewrite,
    )


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


def _backend_port(route: HTTPRoute, ref: ServiceRef) -> BackendPort:
    namespace = ref.namespace or route.metadata.namespace
    return BackendPort(namespace, ref.name, number=ref.port)


def common_hosts(listener: str, asked: Sequence[str]) -> list[str]:
    """Return the host names that a route has at a listener; [""]: all, []: none."""
    if not asked:
        return [listener]
    return list(dict.fromkeys(host for one in asked for host in _common(listener, one)))


def _common(listener: str, asked: str) -> Iterator[str]:
    if covers(listener, asked):
        yield asked
    elif covers(asked, listener):
        yield listener


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
