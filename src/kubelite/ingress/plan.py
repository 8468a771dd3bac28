"""What Ingresses ask for: their routes, certificates and backends, and what is wrong with them. Pure.

Two Ingresses may ask for one host and path: it belongs to the older one, whatever their namespaces. Nothing of an
Ingress reaches into another namespace: Services and Secrets are those of its own.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from ipaddress import ip_address

from msgspec import Struct

from kubelite.api.kinds.core.services import Service, ServicePort
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.networking import HTTPIngressPath, Ingress, IngressBackend
from kubelite.api.machinery.ingress_classes import is_ours
from kubelite.ingress.endpoints import HTTP_1, HTTP_2, PLAIN, BackendTLS, Speech
from kubelite.ingress.routes import Backend, Route, matches_host
from kubelite.limits import INGRESS_ROUTES, INGRESS_ROUTES_PER_INGRESS, INGRESS_SECRETS

SSL_REDIRECT = "kubelite.io/ssl-redirect"
BODY_SIZE = "kubelite.io/max-body-size"
READ_TIMEOUT = "kubelite.io/read-timeout-seconds"
SIZE = re.compile(r"([0-9]{1,12})([kmg]i?)?", re.IGNORECASE)
SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
READ_SECONDS = 60.0
READ_SECONDS_MAX = 86_400
# By appProtocol, in lower case: what is spoken, and whether by TLS.
PROTOCOLS = {
    "": (HTTP_1, False),
    "http": (HTTP_1, False),
    "tcp": (HTTP_1, False),
    "ws": (HTTP_1, False),
    "kubernetes.io/ws": (HTTP_1, False),
    "https": (HTTP_1, True),
    "wss": (HTTP_1, True),
    "kubernetes.io/wss": (HTTP_1, True),
    "h2c": (HTTP_2, False),
    "grpc": (HTTP_2, False),
    "kubernetes.io/h2c": (HTTP_2, False),
}
PLAIN_HTTP = PROTOCOLS[""]

Claim = tuple[str, bool, str]  # host, whether exact, path
SecretKey = tuple[str, str]  # namespace and name


class Problem(Struct, frozen=True):
    """What is wrong with an Ingress: an event."""

    ingress: str  # namespace/name
    reason: str
    message: str


class Terms(Struct, frozen=True):
    """The host names that get the certificate of a Secret."""

    secret: SecretKey
    hosts: tuple[str, ...]
    ingress: str  # namespace/name


class BackendPort(Struct, frozen=True):
    """A port of a Service as a backend names it."""

    namespace: str
    service: str
    port: str = ""  # its name
    number: int = 0

    @property
    def key(self) -> str:
        """The key of the set of endpoints."""
        return f"{self.namespace}/{self.service}:{self.port or self.number}"


class Plan(Struct, frozen=True):
    """The whole."""

    routes: tuple[Route, ...] = ()
    terms: tuple[Terms, ...] = ()
    backends: frozenset[BackendPort] = frozenset()
    problems: tuple[Problem, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no Ingress is kubelite's, so that nothing needs to listen."""
        return not self.routes


class _Draft:
    """What is claimed so far."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self.terms: list[Terms] = []
        self.backends: set[BackendPort] = set()
        self.problems: list[Problem] = []
        self.claims: dict[Claim, str] = {}
        self.certified: set[str] = set()  # hosts
        self.secrets: set[SecretKey] = set()
        self.default = ""  # the Ingress of the default backend


def key_of(ingress: Ingress) -> str:
    """Return namespace/name."""
    return f"{ingress.metadata.namespace}/{ingress.metadata.name}"


def by_age(ingresses: Iterable[Ingress]) -> list[Ingress]:
    """Return Ingresses from the oldest to the youngest; those of one second by name."""
    return sorted(
        ingresses,
        key=lambda one: (one.metadata.creationTimestamp or "", key_of(one), one.metadata.uid),
    )


def plan(ingresses: Iterable[Ingress], own: Set[str]) -> Plan:
    """Return what the Ingresses of the classes `own` ask for."""
    draft = _Draft()
    for ingress in by_age(one for one in ingresses if is_ours(one, own)):
        if ingress.metadata.deletionTimestamp is None:
            _add(draft, ingress)
    return Plan(
        tuple(draft.routes),
        tuple(draft.terms),
        frozenset(draft.backends),
        tuple(draft.problems),
    )


def _add(draft: _Draft, ingress: Ingress) -> None:
    owner = key_of(ingress)

    def tell(reason: str, message: str) -> None:
        draft.problems.append(Problem(owner, reason, message))

    settings = _settings(ingress, tell)
    secured = _secured_hosts(ingress)
    left = INGRESS_ROUTES_PER_INGRESS.value
    for host, path in _paths(ingress):
        claim = host, path.pathType == "Exact", _path_text(path)
        if (holder := draft.claims.get(claim)) is not None:
            if holder != owner:
                where = f"{host or '*'}{path.path or '/'}"
                tell("HostPathConflict", f"{where} is already routed by Ingress {holder}")
            continue
        if not left or len(draft.routes) >= INGRESS_ROUTES.value:
            (INGRESS_ROUTES if left else INGRESS_ROUTES_PER_INGRESS).reached()
            tell("TooManyRoutes", "it asks for more routes than there may be; some are left out")
            break
        backend = _backend(ingress, path.backend, tell)
        if backend is None:
            continue
        left -= 1
        draft.claims[claim] = owner
        draft.backends.add(backend)
        draft.routes.append(
            Route(
                owner=owner,
                host=host,
                path=claim[2],
                is_exact=claim[1],
                backends=(Backend(backend.key),),
                redirects_to_https=settings.redirects and _is_secured(host, secured),
                body_bytes_max=settings.body_bytes_max,
                read_seconds=settings.read_seconds,
            )
        )
    _add_default(draft, ingress, settings, tell)
    _add_terms(draft, ingress, tell)


class _Settings(Struct, frozen=True):
    redirects: bool
    body_bytes_max: int
    read_seconds: float


Tell = Callable[[str, str], None]


def _settings(ingress: Ingress, tell: Tell) -> _Settings:
    """Return what the annotations say; those that are invalid are told of and left out."""
    notes = ingress.metadata.annotations
    redirect = notes.get(SSL_REDIRECT, "true")
    if redirect not in ("true", "false"):
        tell("InvalidAnnotation", f"{SSL_REDIRECT} must be true or false")
    size, seconds = 0, READ_SECONDS
    if text := notes.get(BODY_SIZE, ""):
        if match := SIZE.fullmatch(text):
            size = int(match[1]) * SIZES[(match[2] or "").lower().rstrip("i")]
        else:
            tell("InvalidAnnotation", f"{BODY_SIZE} must be bytes, or have k, m or g behind it")
    if text := notes.get(READ_TIMEOUT, ""):
        if text.isascii() and text.isdigit() and 0 < int(text[:9]) <= READ_SECONDS_MAX:
            seconds = float(text)
        else:
            tell("InvalidAnnotation", f"{READ_TIMEOUT} must be 1 to {READ_SECONDS_MAX}")
    return _Settings(redirect != "false", size, seconds)


def _paths(ingress: Ingress) -> Iterator[tuple[str, HTTPIngressPath]]:
    for rule in ingress.spec.rules:
        for path in rule.http.paths if rule.http is not None else ():
            yield rule.host, path


def _path_text(path: HTTPIngressPath) -> str:
    text = path.path or "/"
    return text if path.pathType == "Exact" else text.rstrip("/") or "/"


def _backend(ingress: Ingress, backend: IngressBackend, tell: Tell) -> BackendPort | None:
    if backend.service is None:
        tell("UnsupportedBackend", "backends other than Services are not supported")
        return None
    service = backend.service
    return BackendPort(
        ingress.metadata.namespace, service.name, service.port.name, service.port.number
    )


def _add_default(draft: _Draft, ingress: Ingress, settings: _Settings, tell: Tell) -> None:
    """Add what gets the requests that match no rule of any Ingress."""
    default, owner = ingress.spec.defaultBackend, key_of(ingress)
    if default is None:
        return
    if draft.default:
        tell(
            "DefaultBackendConflict",
            f"the default backend is already that of Ingress {draft.default}",
        )
        return
    backend = _backend(ingress, default, tell)
    if backend is None:
        return
    draft.default = owner
    draft.backends.add(backend)
    draft.routes.append(
        Route(
            owner=owner,
            is_default=True,
            backends=(Backend(backend.key),),
            body_bytes_max=settings.body_bytes_max,
            read_seconds=settings.read_seconds,
        )
    )


def _secured_hosts(ingress: Ingress) -> tuple[str, ...]:
    """Return the host names of the TLS section; "" stands for all hosts of the rules."""
    return tuple(host for entry in ingress.spec.tls for host in entry.hosts or ("",))


def _is_secured(host: str, secured: Sequence[str]) -> bool:
    return any(not one or one == host or matches_host(one, host) for one in secured)


def _add_terms(draft: _Draft, ingress: Ingress, tell: Tell) -> None:
    """Claim certificates for hosts of the Ingress's own rules, which no older Ingress has claimed."""
    ruled = list(dict.fromkeys(rule.host for rule in ingress.spec.rules if rule.host))
    for entry in ingress.spec.tls:
        if not entry.secretName:
            continue
        hosts = [
            host
            for host in dict.fromkeys(_certified(entry.hosts, ruled))
            if host not in draft.certified
        ]
        secret = ingress.metadata.namespace, entry.secretName
        if not hosts:
            continue
        if secret not in draft.secrets and len(draft.secrets) >= INGRESS_SECRETS.value:
            INGRESS_SECRETS.reached()
            tell("TooManySecrets", "there are too many Secrets with certificates")
            return
        draft.secrets.add(secret)
        draft.certified.update(hosts)
        draft.terms.append(Terms(secret, tuple(hosts), key_of(ingress)))


def _certified(asked: Sequence[str], ruled: Sequence[str]) -> Iterator[str]:
    """Yield the names for which a certificate is used: the asked ones, as far as rules have them."""
    if not asked:
        yield from ruled
    for name in asked:
        if name in ruled:
            yield name
        elif name.startswith("*."):
            yield from (host for host in ruled if matches_host(name, host))
        elif any(matches_host(host, name) for host in ruled):
            yield name  # a name under a wildcard of the rules


# Endpoints


def endpoints_of(
    backend: BackendPort, service: Service | None, slices: Iterable[EndpointSlice]
) -> tuple[str, ...]:
    """Return the addresses of a backend as IP:PORT: of ready endpoints, else of those that still serve."""
    port = port_of(backend, service)
    if service is None or port is None or backend_problem(backend, service):
        return ()
    ready, serving = [], []
    for entry in slices:
        numbers = [
            one.port
            for one in entry.ports
            if (one.name or "") == port.name and one.port and one.protocol in (None, "", "TCP")
        ]
        for endpoint in entry.endpoints:
            conditions = endpoint.conditions
            if not endpoint.addresses or not is_reachable(endpoint.addresses[0]):
                continue
            found = [_joined(endpoint.addresses[0], number) for number in numbers]
            if conditions.ready is not False:
                ready += found
            elif conditions.serving is True:
                serving += found
    return tuple(sorted(set(ready or serving)))


def port_of(backend: BackendPort, service: Service | None) -> ServicePort | None:
    """Return the port of a Service that a backend names."""
    for port in service.spec.ports if service is not None else ():
        if port.name == backend.port if backend.port else port.port == backend.number:
            return port if port.protocol in ("", "TCP") else None
    return None


def speech_of(backend: BackendPort, service: Service | None, tls: BackendTLS | None) -> Speech:
    """Return what the endpoints of a backend speak; `tls` is that of a policy for it.

    Without a policy nothing says whom to trust, so TLS that only an appProtocol asks for trusts everybody.
    """
    port = port_of(backend, service)
    protocol, has_tls = PROTOCOLS.get((port.appProtocol or "").lower() if port else "", PLAIN_HTTP)
    if tls is None and has_tls:
        host = f"{backend.service}.{backend.namespace}.svc"
        tls = BackendTLS(host, is_verified=False)
    return Speech(protocol, tls) if protocol or tls else PLAIN


def backend_problem(backend: BackendPort, service: Service) -> str:
    """Return why requests cannot be sent to a Service; "" if they can."""
    name = f"Service {backend.namespace}/{backend.service}"
    if service.spec.type == "ExternalName":
        return f"{name} is of type ExternalName, to which no requests are sent"
    port = port_of(backend, service)
    if port is None:
        return f"{name} has no TCP port {backend.port or backend.number}"
    protocol = (port.appProtocol or "").lower()
    if protocol not in PROTOCOLS:
        return f"{name} speaks {port.appProtocol}, which is not supported"
    return ""


def backend_problems(plan: Plan, services: Mapping[tuple[str, str], Service]) -> Iterator[Problem]:
    """Yield what keeps backends of Ingresses from getting requests; a Service may still be created."""
    owners: dict[str, dict[str, None]] = {}
    for route in plan.routes:
        for one in route.backends:
            owners.setdefault(one.key, {})[route.owner] = None
    for backend in sorted(plan.backends, key=lambda one: one.key):
        service = services.get((backend.namespace, backend.service))
        if service is not None and (message := backend_problem(backend, service)):
            for owner in owners.get(backend.key, ()):
                yield Problem(owner, "UnsupportedBackend", message)


def is_reachable(text: str) -> bool:
    """Return whether an endpoint may have this address: no host's own loopback, no link's own."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
    )


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
