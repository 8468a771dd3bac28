"""The objects of the Gateway API, as far as kubelite reads them.

They are custom resources, so no built-in kind describes them. Their definitions check them before they are stored; an
object that has another shape all the same, under a definition of the user's own, is left out.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

GROUP, VERSION = "gateway.networking.k8s.io", "v1"
GRANT_VERSION = "v1beta1"  # of ReferenceGrants where a cluster has no v1
CONTROLLER = "kubelite.io/gateway-controller"
CLASS_NAME = "kubelite"
DEFAULT_WEIGHT = 1


class Wire(Struct, frozen=True, rename="camel", kw_only=True):
    """What is read of an object; unknown fields are ignored."""


class Meta(Wire, frozen=True):
    """Metadata."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class GatewayClassSpec(Wire, frozen=True):
    """The controller of a class."""

    controller_name: str = ""
    parameters_ref: dict[str, Any] | None = None


class GatewayClass(Wire, frozen=True):
    """A class of Gateways."""

    metadata: Meta = Meta()
    spec: GatewayClassSpec = GatewayClassSpec()
    status: dict[str, Any] = {}


class Requirement(Wire, frozen=True):
    """A condition on one label."""

    key: str
    operator: str
    values: list[str] = []


class LabelSelector(Wire, frozen=True):
    """Conditions on labels, all of which must hold."""

    match_labels: dict[str, str] = {}
    match_expressions: list[Requirement] = []


class RouteNamespaces(Wire, frozen=True):
    """The namespaces whose routes a listener lets in: Same, All or Selector."""

    from_: str = msgspec.field(name="from", default="Same")
    selector: LabelSelector | None = None


class RouteKind(Wire, frozen=True):
    """A kind of routes."""

    kind: str
    group: str = GROUP


class AllowedRoutes(Wire, frozen=True):
    """The routes that a listener lets in."""

    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: list[RouteKind] = []


class ObjectRef(Wire, frozen=True):
    """A reference to an object; without a namespace it is in that of the object which refers."""

    name: str
    namespace: str | None = None
    group: str = ""
    kind: str = "Secret"


class ListenerTLS(Wire, frozen=True):
    """The TLS settings of a listener."""

    mode: str = "Terminate"
    certificate_refs: list[ObjectRef] = []


class GatewayListener(Wire, frozen=True):
    """A port of a Gateway, with the host names that it serves."""

    name: str
    port: int
    protocol: str
    hostname: str = ""
    tls: ListenerTLS | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class GatewayAddress(Wire, frozen=True):
    """An address that a Gateway asks for."""

    type: str = "IPAddress"
    value: str = ""


class GatewaySpec(Wire, frozen=True):
    """A Gateway's listeners."""

    gateway_class_name: str = ""
    listeners: list[GatewayListener] = []
    addresses: list[GatewayAddress] = []


class Gateway(Wire, frozen=True):
    """Listeners that share addresses."""

    metadata: Meta = Meta()
    spec: GatewaySpec = GatewaySpec()
    status: dict[str, Any] = {}


class ParentRef(Wire, frozen=True):
    """What a route wants to be attached to."""

    name: str
    namespace: str | None = None
    group: str = GROUP
    kind: str = "Gateway"
    section_name: str | None = None
    port: int | None = None


class PathMatch(Wire, frozen=True):
    """A condition on the path."""

    type: str = "PathPrefix"
    value: str = "/"


class ValueMatch(Wire, frozen=True):
    """A condition on a header or a parameter of the query."""

    name: str
    value: str
    type: str = "Exact"


class RouteMatch(Wire, frozen=True):
    """Conditions on a request, all of which must hold."""

    path: PathMatch = PathMatch()
    headers: list[ValueMatch] = []
    query_params: list[ValueMatch] = []
    method: str = ""


class Header(Wire, frozen=True):
    """A header field."""

    name: str
    value: str


class HeaderModifier(Wire, frozen=True):
    """Changes of header fields."""

    set: list[Header] = []
    add: list[Header] = []
    remove: list[str] = []


class PathModifier(Wire, frozen=True):
    """A change of the path."""

    type: str
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class RequestRedirect(Wire, frozen=True):
    """An answer that sends the client elsewhere."""

    scheme: str = ""
    hostname: str = ""
    path: PathModifier | None = None
    port: int = 0
    status_code: int = 302


class URLRewrite(Wire, frozen=True):
    """A change of host and path."""

    hostname: str = ""
    path: PathModifier | None = None


class Fraction(Wire, frozen=True):
    """A share of all requests."""

    numerator: int = 0
    denominator: int = 100


class ServiceRef(Wire, frozen=True):
    """A port of a Service."""

    name: str
    namespace: str | None = None
    group: str = ""
    kind: str = "Service"
    port: int = 0


class RequestMirror(Wire, frozen=True):
    """A Service that gets copies of requests."""

    backend_ref: ServiceRef
    percent: int | None = None
    fraction: Fraction | None = None


class Filter(Wire, frozen=True):
    """A change of requests or responses."""

    type: str
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: URLRewrite | None = None
    request_mirror: RequestMirror | None = None


class BackendRef(ServiceRef, frozen=True):
    """A backend and its share of the requests."""

    weight: int = DEFAULT_WEIGHT
    filters: list[Filter] = []


class Timeouts(Wire, frozen=True):
    """Durations; "" and 0s: none."""

    request: str = ""
    backend_request: str = ""


class RouteRule(Wire, frozen=True):
    """Matches, one of which must hold, and what is done then."""

    matches: list[RouteMatch] = []
    filters: list[Filter] = []
    backend_refs: list[BackendRef] = []
    timeouts: Timeouts = Timeouts()


class HTTPRouteSpec(Wire, frozen=True):
    """A route's parents, host names and rules."""

    parent_refs: list[ParentRef] = []
    hostnames: list[str] = []
    rules: list[RouteRule] = []


class HTTPRoute(Wire, frozen=True):
    """Rules for requests to some host names."""

    metadata: Meta = Meta()
    spec: HTTPRouteSpec = HTTPRouteSpec()
    status: dict[str, Any] = {}


class GrantFrom(Wire, frozen=True):
    """The objects that may refer."""

    group: str = ""
    kind: str = ""
    namespace: str = ""


class GrantTo(Wire, frozen=True):
    """The objects that may be referred to; no name: all of the kind."""

    group: str = ""
    kind: str = ""
    name: str = ""


class GrantSpec(Wire, frozen=True):
    """What a grant permits."""

    from_: list[GrantFrom] = msgspec.field(name="from", default=[])
    to: list[GrantTo] = []


class ReferenceGrant(Wire, frozen=True):
    """References from other namespaces that the grant's own namespace permits."""

    metadata: Meta = Meta()
    spec: GrantSpec = GrantSpec()


class PolicyTarget(Wire, frozen=True):
    """What a policy is for: a Service, or one of its ports."""

    name: str
    group: str = ""
    kind: str = "Service"
    section_name: str = ""


class AltName(Wire, frozen=True):
    """A name that a certificate may have: Hostname or URI."""

    type: str
    hostname: str = ""
    uri: str = ""


class Validation(Wire, frozen=True):
    """Whom to trust."""

    hostname: str
    ca_certificate_refs: list[ObjectRef] = []
    well_known_ca_certificates: str = msgspec.field(name="wellKnownCACertificates", default="")
    subject_alt_names: list[AltName] = []


class BackendTLSPolicySpec(Wire, frozen=True):
    """What a policy is for, and whom to trust there."""

    validation: Validation
    target_refs: list[PolicyTarget] = []


class BackendTLSPolicy(Wire, frozen=True):
    """How to speak to a Service by TLS."""

    spec: BackendTLSPolicySpec
    metadata: Meta = Meta()
    status: dict[str, Any] = {}


T = TypeVar("T", bound=Wire)


def read(items: Iterable[Mapping[str, Any]], kind: type[T]) -> list[T]:
    """Return the objects of a kind; those of another shape are left out."""
    found = []
    for item in items:
        try:
            found.append(msgspec.convert(item, kind, strict=False))
        except msgspec.ValidationError:
            continue
    return found
