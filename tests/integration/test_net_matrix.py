"""Every way from a host, a pod and a machine outside to a pod, as the model of Kubernetes' promises expects it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest
from fakes.network_objects import endpoint, endpoint_slice, port, service
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from integration.net_namespaces import needs_root
from integration.net_probes import Probe, ask_all
from integration.net_two_nodes import NODES, OUTSIDE, PODS, POOL, PORT, Place, TwoNodes, two_nodes
from integration.network_model import LOOPBACK, World, expected
from kubelite.api.kinds.core.containers import Container, ContainerPort
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod, PodIP, PodSpec, PodStatus
from kubelite.api.kinds.core.services import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServiceStatus,
)
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import Condition, LabelSelector, ObjectMeta
from kubelite.api.kinds.model import Kind
from kubelite.api.kinds.networking import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from kubelite.api.machinery.load_balancing import ANNOUNCED
from kubelite.net import ipv6_host

pytestmark = needs_root

SOURCES = (*NODES, *PODS, OUTSIDE)
HOST_PORTS = {"b": 9001, "d": 9002}
# Those of their bridges and links.
OF_NODES = {one for node in NODES for one in node.addresses}
OF_NODES |= {"127.0.0.1", "::1", "10.42.0.1", "10.42.1.1", "fd42::1", "fd42:0:0:1::1"}
NAMESPACES = [
    Namespace(metadata=ObjectMeta(name=name, labels={"kind": name}))
    for name in ("default", "other")
]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        # The note of the host's settings stays away from the host's own.
        patch.setattr(ipv6_host, "BEFORE", tmp_path_factory.mktemp("net") / "before.json")
        found = stack.enter_context(two_nodes())
        yield found


def pod(place: Place, role: str = "x", namespace: str = "default") -> Pod:
    ports = [
        ContainerPort(
            name="web" if protocol == "TCP" else "ask",
            containerPort=PORT,
            hostPort=HOST_PORTS.get(place.name, 0),
            protocol=protocol,
        )
        for protocol in ("TCP", "UDP")
    ]
    return Pod(
        metadata=ObjectMeta(
            namespace=namespace,
            name=place.name,
            uid=place.name,
            labels={"app": place.name, "role": role},
        ),
        spec=PodSpec(nodeName=place.node, containers=[Container(ports=ports)]),
        status=PodStatus(
            phase="Running",
            podIP=place.addresses[0],
            podIPs=[PodIP(ip=one) for one in place.addresses],
        ),
    )


def balanced(
    number: int, places: Sequence[tuple[Place, bool]], ingress: Sequence[str], **spec: object
) -> tuple[Service, list[EndpointSlice]]:
    """Make a service of both families and protocols; of `places` True is one that is ready, else it is ending."""
    name = f"s{number}"
    item = service(
        name,
        f"10.43.1.{number}",
        type="LoadBalancer",
        clusterIPs=[f"10.43.1.{number}", f"fd43::10{number}"],
        ports=[
            port(80 + number, "TCP", "tcp", 30080 + number),
            port(80 + number, "UDP", "udp", 30180 + number),
        ],
        **spec,
    )
    entries = [LoadBalancerIngress(ip=one) for one in ingress]
    chosen = [Condition(type=ANNOUNCED, status="True", message="left")]
    status = ServiceStatus(
        loadBalancer=LoadBalancerStatus(ingress=entries),
        conditions=chosen if POOL[0] in ingress else [],
    )
    item = replace(item, status=status)
    slices = [
        endpoint_slice(
            *(
                endpoint(
                    place.addresses[version],
                    place.node,
                    ready=is_ready,
                    serving=True,
                    terminating=not is_ready,
                )
                for place, is_ready in places
            ),
            service_name=name,
            name=f"{name}-{version}-{protocol}",
            port=PORT,
            protocol=protocol,
            port_name=protocol.lower(),
        )
        for version in (0, 1)
        for protocol in ("TCP", "UDP")
    ]
    return item, [
        replace(one, addressType="IPv6" if "-1-" in one.metadata.name else "IPv4") for one in slices
    ]


def probes_of(world: World, source: Place) -> list[Probe]:
    """Return what a place asks: each kind of address by each protocol and family."""
    places: list[tuple[str, int, int]] = []  # address, port by TCP, port by UDP
    for version in (0, 1):
        nodes = [node.addresses[version] for node in NODES]
        places += [(one.addresses[version], PORT, PORT) for one in (*PODS, *NODES, OUTSIDE)]
        places.append((PODS[1].addresses[version], 1, 1))
        places.append((("10.43.9.9", "fd43::909")[version], 80, 80))
        places += [(node, number, number) for node in nodes for number in (*HOST_PORTS.values(), 1)]
        if source in NODES:
            places += [(LOOPBACK[version], one, one) for one in (*HOST_PORTS.values(), PORT, 1)]
        for item in world.services:
            tcp, udp = item.spec.ports
            balancers = [one.ip for one in item.status.loadBalancer.ingress]
            for address in (*item.spec.clusterIPs, *balancers):
                if (":" in address) == bool(version):
                    places.append((address, tcp.port, udp.port))
                    if address not in nodes:
                        places.append((address, 7, 7))
            places += [(node, tcp.nodePort, udp.nodePort) for node in nodes]
            if source in NODES:
                places.append((LOOPBACK[version], tcp.nodePort, udp.nodePort))
    return [
        Probe(protocol, address, number)
        for address, tcp, udp in places
        for protocol, number in (("TCP", tcp), ("UDP", udp))
        if address not in source.addresses or source.name in ("left", "right")
    ]


def check(nodes: TwoNodes, world: World, sources: Sequence[Place] = SOURCES) -> int:
    """Set the objects on both nodes and compare all probes with the model; return how many there were."""
    items: list[Kind] = [
        *world.namespaces,
        *world.pods,
        *world.services,
        *world.slices,
        *world.policies,
    ]
    nodes.set(*items)
    asked = [(source, probes_of(world, source)) for source in sources]
    wrong = _differences(nodes, world, asked)
    # A machine that is busy may answer late, and a kernel tells of 50 refusals at once and no more: ask again for as
    # long as some come out right.
    before = 1 + _count(wrong)
    while 0 < _count(wrong) < before:
        before = _count(wrong)
        # Several times where chance chooses one of some endpoints.
        again = [
            (source, [one for one, _, wanted in found for _ in range(1 + 3 * (len(wanted) > 1))])
            for source, found in wrong
        ]
        wrong = _differences(nodes, world, again)
    lines = [
        f"{source.name} > {probe.protocol} {probe.address} {probe.port}: {answer}, not {sorted(wanted)}"
        for source, found in wrong
        for probe, answer, wanted in found
    ]
    assert not lines, "\n".join(lines)
    return sum(len(probes) for _, probes in asked)


Difference = tuple[Probe, str, frozenset[str]]


def _count(wrong: Sequence[tuple[Place, Sequence[Difference]]]) -> int:
    return sum(len({probe for probe, _, _ in found}) for _, found in wrong)


def _generally(answer: str) -> str:
    """Return an answer with "?" for an address of a node, which it has on one link or another."""
    name, _, address = answer.partition(" ")
    return f"{name} ?" if address in OF_NODES else answer


def _differences(
    nodes: TwoNodes, world: World, asked: Sequence[tuple[Place, Sequence[Probe]]]
) -> list[tuple[Place, list[Difference]]]:
    answers = ask_all([(nodes.probers[source.name], probes) for source, probes in asked])
    return [
        (
            source,
            [
                (probe, answer, wanted)
                for probe, answer in zip(probes, found, strict=True)
                if not {answer, _generally(answer)} & (wanted := expected(world, source, probe))
            ],
        )
        for (source, probes), found in zip(asked, answers, strict=True)
    ]


BOTH = [*NODES[0].addresses, *NODES[1].addresses]
SERVED = [
    balanced(1, [(PODS[1], True)], []),
    balanced(2, [(PODS[1], True), (PODS[3], True)], BOTH),
    balanced(3, [(PODS[1], True)], POOL, externalTrafficPolicy="Local"),
]


def policy(
    name: str,
    kind: str,
    who: dict[str, str],
    rules: Sequence[tuple[list[NetworkPolicyPeer], list[NetworkPolicyPort]]],
    namespace: str = "default",
) -> NetworkPolicy:
    spec = NetworkPolicySpec(podSelector=LabelSelector(matchLabels=who), policyTypes=[kind])
    if kind == "Ingress":
        spec = replace(spec, ingress=[NetworkPolicyIngressRule(from_=a, ports=b) for a, b in rules])
    else:
        spec = replace(spec, egress=[NetworkPolicyEgressRule(to=a, ports=b) for a, b in rules])
    return NetworkPolicy(metadata=ObjectMeta(namespace=namespace, name=name), spec=spec)


POLICIES = {
    "none": [],
    "allows": [
        policy(
            "in",
            "Ingress",
            {},
            [([], [NetworkPolicyPort(port=PORT, protocol=one) for one in ("TCP", "UDP")])],
        ),
        policy("out", "Egress", {}, [([], [])]),
    ],
    "denies ingress": [policy("in", "Ingress", {"app": "b"}, [])],
    "denies egress": [policy("out", "Egress", {"app": "a"}, [])],
}


@pytest.mark.parametrize("name", POLICIES)
def test_matrix(nodes: TwoNodes, name: str) -> None:
    world = World(
        [pod(place) for place in PODS],
        NAMESPACES,
        [item for item, _ in SERVED],
        [one for _, some in SERVED for one in some],
        POLICIES[name],
    )
    assert check(nodes, world) > 500


roles = st.sampled_from(["x", "y"])
pods = st.tuples(
    *(
        st.builds(pod, st.just(place), roles, st.sampled_from(["default", "other"]))
        for place in PODS
    )
)
traffic = st.sampled_from(["Cluster", "Local"])
served = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.sampled_from([*PODS, NODES[0]]), st.booleans()),
            max_size=3,
            unique_by=lambda one: one[0].name,
        ),
        st.sampled_from([[], BOTH, [*NODES[0].addresses], [*POOL]]),
        traffic,
        traffic,
        st.sampled_from(["None", "ClientIP"]),
        st.sampled_from(
            [
                [],
                ["198.51.100.2/32", "fd42::/56"],
                ["10.42.0.0/24", "2001:db8:1::/64"],
            ]
        ),
    ),
    max_size=3,
).map(
    lambda some: [
        balanced(
            number,
            places,
            ingress,
            externalTrafficPolicy=external,
            internalTrafficPolicy=internal,
            sessionAffinity=affinity,
            loadBalancerSourceRanges=ranges,
        )
        for number, (places, ingress, external, internal, affinity, ranges) in enumerate(some, 1)
    ]
)
peers = st.one_of(
    st.builds(
        lambda role, kind: NetworkPolicyPeer(
            podSelector=LabelSelector(matchLabels={"role": role} if role else {}),
            namespaceSelector=LabelSelector(matchLabels={"kind": kind}) if kind else None,
        ),
        st.sampled_from(["", "x", "y"]),
        st.sampled_from(["", "default", "other"]),
    ),
    st.sampled_from(
        [
            NetworkPolicyPeer(ipBlock=IPBlock(cidr=cidr, except_=list(holes)))
            for cidr, holes in (
                ("0.0.0.0/0", ()),
                ("0.0.0.0/0", ("10.42.0.2/32", "198.51.100.0/31")),
                ("198.51.100.2/31", ()),
                ("::/0", ("fd42:0:0:1::/64",)),
                ("2001:db8:1::/64", ("2001:db8:1::1/128",)),
            )
        ]
    ),
)
ports = st.sampled_from(
    [
        NetworkPolicyPort(port=PORT),
        NetworkPolicyPort(port="web"),
        NetworkPolicyPort(port="ask", protocol="UDP"),
        NetworkPolicyPort(port=8000, endPort=8100, protocol="UDP"),
        NetworkPolicyPort(port=8081, endPort=8100),
        NetworkPolicyPort(protocol="UDP"),
    ]
)
policies = st.lists(
    st.tuples(
        st.sampled_from(["Ingress", "Egress"]),
        st.sampled_from([{}, {"role": "x"}, {"app": "a"}, {"app": "b"}]),
        st.lists(st.tuples(st.lists(peers, max_size=2), st.lists(ports, max_size=2)), max_size=2),
        st.sampled_from(["default", "other"]),
    ),
    max_size=3,
).map(lambda some: [policy(f"p{number}", *words) for number, words in enumerate(some)])


def test_any_objects(nodes: TwoNodes) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(pods, served, policies)
    def one(
        some: tuple[Pod, ...],
        services: list[tuple[Service, list[EndpointSlice]]],
        rules: list[NetworkPolicy],
    ) -> None:
        world = World(
            some,
            NAMESPACES,
            [item for item, _ in services],
            [one for _, slices in services for one in slices],
            rules,
        )
        check(nodes, world)

    one()
