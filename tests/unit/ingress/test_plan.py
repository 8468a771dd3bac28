"""What Ingresses ask for, who wins, and what they are told."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from kubelite.api.kinds.core.references import TypedLocalObjectReference
from kubelite.api.kinds.core.services import Service, ServicePort, ServiceSpec
from kubelite.api.kinds.discovery import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.networking import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressClass,
    IngressClassSpec,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    IngressTLS,
    ServiceBackendPort,
)
from kubelite.api.machinery.ingress_classes import CONTROLLER, own_classes
from kubelite.ingress.endpoints import PLAIN, BackendTLS, Speech
from kubelite.ingress.plan import (
    BackendPort,
    Plan,
    Problem,
    backend_problems,
    endpoints_of,
    is_reachable,
    plan,
    speech_of,
)
from kubelite.limits import INGRESS_ROUTES_PER_INGRESS

OWN = frozenset({"kubelite"})


def backend(service: str = "web", port: int = 80, name: str = "") -> IngressBackend:
    number = 0 if name else port
    return IngressBackend(
        service=IngressServiceBackend(
            name=service, port=ServiceBackendPort(name=name, number=number)
        )
    )


def path(
    text: str = "/", kind: str = "Prefix", to: IngressBackend | None = None
) -> HTTPIngressPath:
    return HTTPIngressPath(backend=to or backend(), pathType=kind, path=text)


def ingress(
    name: str = "web",
    *rules: tuple[str, Sequence[HTTPIngressPath]],
    namespace: str = "default",
    age: int = 0,
    class_name: str | None = "kubelite",
    tls: Sequence[IngressTLS] = (),
    default: IngressBackend | None = None,
    **annotations: str,
) -> Ingress:
    notes = {f"kubelite.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return Ingress(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"{namespace}/{name}",
            creationTimestamp=f"2026-01-01T00:00:{59 - age:02}Z",
            annotations=notes,
        ),
        spec=IngressSpec(
            ingressClassName=class_name,
            defaultBackend=default,
            rules=[
                IngressRule(host=host, http=HTTPIngressRuleValue(paths=list(paths)))
                for host, paths in rules
            ],
            tls=list(tls),
        ),
    )


def shown(found: Plan) -> list[tuple[str, str, bool, str]]:
    return [(one.host, one.path, one.is_exact, one.backends[0].key) for one in found.routes]


def test_rules_become_routes() -> None:
    found = plan(
        [
            ingress(
                "web",
                ("a.x", [path("/api/"), path("/one", "Exact", backend(name="http"))]),
                ("", [path("", "ImplementationSpecific", backend("other", 8080))]),
            )
        ],
        OWN,
    )
    assert shown(found) == [
        ("a.x", "/api", False, "default/web:80"),
        ("a.x", "/one", True, "default/web:http"),
        ("", "/", False, "default/other:8080"),
    ]
    assert found.problems == ()
    assert not found.is_empty
    assert plan([], OWN).is_empty


@pytest.mark.parametrize(
    ("class_name", "annotation", "is_default", "is_ours"),
    [
        ("kubelite", "", False, True),
        ("nginx", "", True, False),
        ("unknown", "", True, False),
        (None, "kubelite", False, True),
        (None, "nginx", True, False),
        (None, "", True, True),
        (None, "", False, False),
        ("nginx", "kubelite", False, False),
    ],
)
def test_which_ingresses_are_kubelites(
    class_name: str | None, annotation: str, is_default: bool, is_ours: bool
) -> None:
    note = {"ingressclass.kubernetes.io/is-default-class": str(is_default).lower()}
    classes = [
        IngressClass(
            metadata=ObjectMeta(name="kubelite", annotations=note),
            spec=IngressClassSpec(controller=CONTROLLER),
        ),
        IngressClass(
            metadata=ObjectMeta(name="nginx"), spec=IngressClassSpec(controller="k8s.io/nginx")
        ),
    ]
    one = ingress("web", ("a.x", [path()]), class_name=class_name)
    if annotation:
        one = replace(
            one,
            metadata=replace(one.metadata, annotations={"kubernetes.io/ingress.class": annotation}),
        )
    assert plan([one], own_classes(classes)).is_empty is not is_ours


def test_the_older_of_two_ingresses_wins_a_host_and_path_and_the_other_is_told() -> None:
    young = ingress("aaa", ("a.x", [path("/"), path("/more")]), namespace="b", age=1)
    old = ingress("zzz", ("a.x", [path("/")]), namespace="a", age=2)
    found = plan([young, old], OWN)
    assert shown(found) == [
        ("a.x", "/", False, "a/web:80"),
        ("a.x", "/more", False, "b/web:80"),
    ]
    assert found.problems == (
        Problem("b/aaa", "HostPathConflict", "a.x/ is already routed by Ingress a/zzz"),
    )


def test_an_exact_path_does_not_conflict_with_a_prefix_but_a_slash_does_not_make_another() -> None:
    found = plan(
        [
            ingress("one", ("a.x", [path("/a"), path("/a", "Exact")]), age=2),
            ingress("two", ("a.x", [path("/a/"), path("/a/", "Exact")]), age=1),
        ],
        OWN,
    )
    assert [(one.owner, one.path, one.is_exact) for one in found.routes] == [
        ("default/one", "/a", False),
        ("default/one", "/a", True),
        ("default/two", "/a/", True),
    ]
    assert [one.ingress for one in found.problems] == ["default/two"]


def test_one_default_backend_is_the_oldest() -> None:
    found = plan(
        [
            ingress("old", default=backend("old"), age=2),
            ingress("new", ("a.x", [path()]), default=backend("new"), age=1),
        ],
        OWN,
    )
    assert [(one.owner, one.is_default) for one in found.routes] == [
        ("default/old", True),
        ("default/new", False),
    ]
    assert [one.reason for one in found.problems] == ["DefaultBackendConflict"]


def test_resources_as_backends_are_refused() -> None:
    other = IngressBackend(resource=TypedLocalObjectReference(kind="Bucket", name="x"))
    found = plan([ingress("web", ("a.x", [path(to=other), path("/ok")]))], OWN)
    assert [one.path for one in found.routes] == ["/ok"]
    assert [one.reason for one in found.problems] == ["UnsupportedBackend"]


def test_an_ingress_that_is_being_deleted_frees_its_routes() -> None:
    gone = ingress("old", ("a.x", [path()]), age=2)
    gone = replace(gone, metadata=replace(gone.metadata, deletionTimestamp="2026-01-01T00:01:00Z"))
    found = plan([gone, ingress("new", ("a.x", [path()]), age=1)], OWN)
    assert [one.owner for one in found.routes] == ["default/new"]


def test_annotations() -> None:
    rules = ("a.x", [path()])
    (found,) = plan(
        [ingress("web", rules, max_body_size="8m", read_timeout_seconds="5")], OWN
    ).routes
    assert (found.body_bytes_max, found.read_seconds) == (8 << 20, 5.0)
    bad = plan(
        [
            ingress(
                "web",
                rules,
                max_body_size="-1",
                read_timeout_seconds="\u0663",
                ssl_redirect="maybe",
            )
        ],
        OWN,
    )
    assert [one.reason for one in bad.problems] == ["InvalidAnnotation"] * 3
    assert (bad.routes[0].body_bytes_max, bad.routes[0].read_seconds) == (0, 60.0)


def test_hosts_with_a_certificate_are_redirected_unless_told_otherwise() -> None:
    rules = [("a.x", [path()]), ("b.x", [path()]), ("c.y", [path()])]
    tls = [IngressTLS(hosts=["*.x"], secretName="s")]
    found = plan([ingress("web", *rules, tls=tls)], OWN)
    assert [one.redirects_to_https for one in found.routes] == [True, True, False]
    found = plan([ingress("web", *rules, tls=tls, ssl_redirect="false")], OWN)
    assert not any(one.redirects_to_https for one in found.routes)
    found = plan([ingress("web", *rules, tls=[IngressTLS(secretName="s")])], OWN)
    assert all(one.redirects_to_https for one in found.routes)


def test_certificates_are_for_hosts_of_the_own_rules_only() -> None:
    """A tenant cannot give its certificate to a host that another one serves."""
    tenant = ingress(
        "evil",
        ("mine.x", [path()]),
        namespace="evil",
        age=9,
        tls=[IngressTLS(hosts=["mine.x", "victim.x", "*.x"], secretName="s")],
    )
    victim = ingress("victim", ("victim.x", [path()]), age=1, tls=[IngressTLS(secretName="v")])
    found = plan([tenant, victim], OWN)
    assert [(one.secret, one.hosts) for one in found.terms] == [
        (("evil", "s"), ("mine.x",)),
        (("default", "v"), ("victim.x",)),
    ]


def test_the_certificate_of_a_host_is_the_older_ingresss() -> None:
    tls = [IngressTLS(hosts=["a.x"], secretName="s")]
    found = plan(
        [
            ingress("new", ("a.x", [path("/b")]), namespace="b", age=1, tls=tls),
            ingress("old", ("a.x", [path("/a")]), namespace="a", age=2, tls=tls),
        ],
        OWN,
    )
    assert [one.secret for one in found.terms] == [("a", "s")]


def test_one_ingress_has_a_bounded_number_of_routes() -> None:
    limit = INGRESS_ROUTES_PER_INGRESS.value
    found = plan([ingress("big", ("a.x", [path(f"/{n}") for n in range(limit + 5)]))], OWN)
    assert len(found.routes) == limit
    assert [one.reason for one in found.problems] == ["TooManyRoutes"]


# Endpoints

WEB = Service(
    metadata=ObjectMeta(name="web", namespace="default"),
    spec=ServiceSpec(
        ports=[
            ServicePort(name="http", port=80, protocol="TCP"),
            ServicePort(name="grpc", port=90, protocol="TCP", appProtocol="kubernetes.io/h2c"),
            ServicePort(name="dns", port=53, protocol="UDP"),
        ]
    ),
)
HTTP = BackendPort("default", "web", number=80)


def slice_of(*endpoints: tuple[str, bool | None, bool | None]) -> EndpointSlice:
    return EndpointSlice(
        addressType="IPv4",
        ports=[
            EndpointPort(name="http", port=8080, protocol="TCP"),
            EndpointPort(name="grpc", port=9090, protocol="TCP"),
        ],
        endpoints=[
            Endpoint(
                addresses=[address], conditions=EndpointConditions(ready=ready, serving=serving)
            )
            for address, ready, serving in endpoints
        ],
    )


@pytest.mark.parametrize(
    ("slices", "wanted"),
    [
        ([slice_of(("10.0.0.2", True, True), ("10.0.0.1", None, None))],
         ("10.0.0.1:8080", "10.0.0.2:8080")),
        ([slice_of(("10.0.0.1", True, True), ("10.0.0.2", False, True))], ("10.0.0.1:8080",)),
        ([slice_of(("10.0.0.1", False, False)), slice_of(("10.0.0.2", False, True))],
         ("10.0.0.2:8080",)),
        ([slice_of(("fd00::1", True, True))], ("[fd00::1]:8080",)),
        ([slice_of(("127.0.0.1", True, True), ("169.254.169.254", True, True))], ()),
        ([], ()),
    ],
)  # fmt: skip
def test_endpoints_are_the_ready_ones_else_those_that_still_serve(
    slices: list[EndpointSlice], wanted: tuple[str, ...]
) -> None:
    assert endpoints_of(HTTP, WEB, slices) == wanted
    assert endpoints_of(BackendPort("default", "web", "http"), WEB, slices) == wanted


@pytest.mark.parametrize(
    ("backend_port", "service", "problem"),
    [
        (HTTP, WEB, ""),
        (BackendPort("default", "web", number=81), WEB, "has no TCP port 81"),
        (BackendPort("default", "web", number=53), WEB, "has no TCP port 53"),
        (BackendPort("default", "web", "grpc"), WEB, ""),
        (HTTP, replace(WEB, spec=replace(WEB.spec, ports=[replace(WEB.spec.ports[0],
         appProtocol="redis")])), "speaks redis"),
        (HTTP, replace(WEB, spec=replace(WEB.spec, type="ExternalName", externalName="evil.x")),
         "is of type ExternalName"),
    ],
)  # fmt: skip
def test_services_to_which_no_requests_are_sent(
    backend_port: BackendPort, service: Service, problem: str
) -> None:
    slices = [slice_of(("10.0.0.1", True, True))]
    assert bool(endpoints_of(backend_port, service, slices)) is not bool(problem)
    to = backend(name=backend_port.port, port=backend_port.number)
    found = plan([ingress("web", ("a.x", [path(to=to)]))], OWN)
    told = list(backend_problems(found, {("default", "web"): service}))
    assert [one.reason for one in told] == (["UnsupportedBackend"] if problem else [])
    assert all(problem in one.message for one in told)
    assert endpoints_of(backend_port, None, slices) == ()


@pytest.mark.parametrize(
    ("address", "reachable"),
    [
        ("10.42.0.1", True), ("fd00::1", True), ("127.0.0.1", False), ("::1", False),
        ("0.0.0.0", False), ("169.254.169.254", False), ("fe80::1", False), ("224.0.0.1", False),
        ("::ffff:127.0.0.1", False), ("name.example", False), ("", False),
    ],
)  # fmt: skip
def test_no_endpoint_is_on_the_nodes_own_loopback(address: str, reachable: bool) -> None:
    assert is_reachable(address) is reachable


@pytest.mark.parametrize(
    ("protocol", "tls", "speech"),
    [
        (None, None, PLAIN),
        ("http", None, PLAIN),
        ("kubernetes.io/ws", None, PLAIN),
        ("kubernetes.io/h2c", None, Speech("h2c")),
        ("gRPC", None, Speech("h2c")),
        ("HTTPS", None, Speech("", BackendTLS("web.default.svc", is_verified=False))),
        ("kubernetes.io/wss", None, Speech("", BackendTLS("web.default.svc", is_verified=False))),
        ("https", BackendTLS("a.x", b"ca"), Speech("", BackendTLS("a.x", b"ca"))),
        (None, BackendTLS("a.x", b"ca"), Speech("", BackendTLS("a.x", b"ca"))),
        ("kubernetes.io/h2c", BackendTLS("a.x", b"ca"), Speech("h2c", BackendTLS("a.x", b"ca"))),
    ],
)
def test_what_endpoints_speak(protocol: str | None, tls: BackendTLS | None, speech: Speech) -> None:
    port = replace(WEB.spec.ports[0], appProtocol=protocol)
    service = replace(WEB, spec=replace(WEB.spec, ports=[port]))
    assert speech_of(BackendPort("default", "web", port.name), service, tls) == speech
