"""Network policies hold real traffic back."""

import asyncio
from contextlib import ExitStack

from fakes.network_objects import NODE, endpoint_slice, port, service

from integration.net_namespaces import ask, needs_root, process_in_namespace, server, shell
from integration.net_node import PODS, Node, on_a_node
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod, PodSpec, PodStatus
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.kinds.networking import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from kubelite.net.pod_network import PodNetwork
from kubelite.node.network import namespace_path

pytestmark = needs_root


def pod(name: str, address: str, **labels: str) -> Pod:
    return Pod(
        metadata=ObjectMeta(
            namespace="default", name=name, uid=name, labels={"app": name, **labels}
        ),
        spec=PodSpec(nodeName=NODE),
        status=PodStatus(phase="Running", podIP=address),
    )


def policy(spec: NetworkPolicySpec) -> NetworkPolicy:
    return NetworkPolicy(metadata=ObjectMeta(namespace="default", name="p"), spec=spec)


def peer(app: str) -> NetworkPolicyPeer:
    return NetworkPolicyPeer(podSelector=LabelSelector(matchLabels={"app": app}))


TWO = LabelSelector(matchLabels={"app": "two"})
SHUT = policy(NetworkPolicySpec(podSelector=TWO, policyTypes=["Ingress"]))
NOTHING = ["TimeoutError"]


async def put_pods(node: Node) -> None:
    await node.put(
        Namespace(metadata=ObjectMeta(name="default")), pod("one", PODS[0]), pod("two", PODS[1])
    )


@on_a_node
async def test_ingress(node: Node) -> None:
    await put_pods(node)
    await node.put(service(), endpoint_slice(PODS[1]), SHUT)
    assert await ask("10.43.0.5", 80, pid=node.one) == NOTHING
    assert await ask(PODS[1], 8080, pid=node.one) == NOTHING
    assert await ask(PODS[1], 8080) == ["two 10.42.0.1"]  # the node itself, for its probes
    assert await ask("10.43.0.5", 80, pid=node.two) == ["two 10.42.0.1"]  # itself by its service
    assert await ask(PODS[0], 8080, pid=node.two) == ["one 10.42.0.3"]  # others are not shut
    allowing = [NetworkPolicyIngressRule(from_=[peer("one")], ports=[NetworkPolicyPort(port=8080)])]
    await node.put(
        policy(NetworkPolicySpec(podSelector=TWO, ingress=allowing, policyTypes=["Ingress"]))
    )
    assert await ask("10.43.0.5", 80, pid=node.one) == ["two 10.42.0.2"]
    await node.put(pod("one", PODS[0], app="three"))
    assert await ask(PODS[1], 8080, pid=node.one) == NOTHING


@on_a_node
async def test_ingress_from_outside_sees_the_clients_address(node: Node) -> None:
    await put_pods(node)
    block = NetworkPolicyPeer(ipBlock=IPBlock(cidr="198.51.100.2/32"))
    spec = NetworkPolicySpec(
        podSelector=TWO, ingress=[NetworkPolicyIngressRule(from_=[block])], policyTypes=["Ingress"]
    )
    node_port = service(type="NodePort", ports=[port(node_port=30080)])
    await node.put(node_port, endpoint_slice(PODS[1]), policy(spec))
    assert await ask("198.51.100.1", 30080, pid=node.far) == ["two 10.42.0.1"]
    await node.put(SHUT)
    assert await ask("198.51.100.1", 30080, pid=node.far) == NOTHING


@on_a_node
async def test_egress(node: Node) -> None:
    await put_pods(node)
    with server("api", 6443, "self"), server("far", 9000, node.far):
        spec = NetworkPolicySpec(podSelector=TWO, policyTypes=["Egress"])
        await node.put(policy(spec))
        for address, number in ((PODS[0], 8080), ("198.51.100.1", 6443), ("198.51.100.2", 9000)):
            assert await ask(address, number, pid=node.two) == NOTHING
        assert await ask(PODS[1], 8080, pid=node.one) == ["two 10.42.0.2"]  # answers may leave
        open_ = NetworkPolicyEgressRule(to=[peer("one")])
        await node.put(
            policy(NetworkPolicySpec(podSelector=TWO, egress=[open_], policyTypes=["Egress"]))
        )
        assert await ask(PODS[0], 8080, pid=node.two) == ["one 10.42.0.3"]
        assert await ask("198.51.100.1", 6443, pid=node.two) == NOTHING


@on_a_node
async def test_a_new_pod_is_protected_before_its_containers_start(node: Node) -> None:
    await put_pods(node)
    every = NetworkPolicySpec(podSelector=LabelSelector(), policyTypes=["Ingress"])
    await node.put(policy(every))
    with ExitStack() as stack:
        pid = stack.enter_context(process_in_namespace())
        node.client.put(
            Pod(
                metadata=ObjectMeta(namespace="default", name="new", uid="new"),
                spec=PodSpec(nodeName=NODE),
            )
        )
        (address,) = await asyncio.wait_for(
            node.network.attach("new", "default/new", namespace_path(pid)), 5
        )
        stack.enter_context(server("new", 8080, pid))
        assert address in shell("nft list map ip kubelite ingress-pods")
        assert await ask(address, 8080, pid=node.one) == NOTHING


@on_a_node
async def test_policies_hold_until_a_pod_that_was_deleted_by_force_is_disconnected(
    node: Node,
) -> None:
    await put_pods(node)
    await node.put(SHUT)
    assert await ask(PODS[1], 8080, pid=node.one) == NOTHING
    node.client.mirror(Pod).remove("default", "two")
    await asyncio.sleep(0.3)  # rounds come every 0.1 s
    await asyncio.wait_for(node.proxy.applied(), 5)
    assert await ask(PODS[1], 8080, pid=node.one) == NOTHING
    # Also against a policy that comes only then, and after another pod took the name.
    none = policy(NetworkPolicySpec(podSelector=LabelSelector(), policyTypes=["Ingress"]))
    await node.put(none, pod("other", "10.42.0.9"))
    assert await ask(PODS[1], 8080, pid=node.one) == NOTHING
    await node.network.detach("two")
    await asyncio.wait_for(node.proxy.applied(), 5)
    listed = await asyncio.to_thread(shell, "nft list map ip kubelite ingress-pods")
    assert PODS[0] in listed
    assert PODS[1] not in listed


@on_a_node
async def test_a_pod_that_is_not_known_after_a_restart_is_isolated(node: Node) -> None:
    await put_pods(node)
    node.client.mirror(Pod).remove("default", "two")
    await node.put(policy(NetworkPolicySpec(podSelector=LabelSelector(matchLabels={"a": "b"}))))
    source = node.proxy._policies
    source._gone.clear()  # as it is in a new process
    source._attached.clear()
    network = PodNetwork(local_addresses=["10.43.0.10"], listener=node.proxy)
    await network.start("10.42.0.0/24")
    await network.restore({"one": node.one, "two": node.two})
    await asyncio.wait_for(node.proxy.applied(), 5)
    assert await ask(PODS[1], 8080, pid=node.one) == NOTHING
    assert await ask(PODS[0], 8080, pid=node.two) == NOTHING
    assert await ask(PODS[0], 8080) == ["one 10.42.0.1"]
    await network.stop()


@on_a_node
async def test_a_rule_of_very_many_blocks_and_ports(node: Node) -> None:
    await put_pods(node)
    blocks = [
        NetworkPolicyPeer(ipBlock=IPBlock(cidr=f"10.{50 + n // 250}.{n % 250}.0/24"))
        for n in range(5000)
    ]
    ports = [NetworkPolicyPort(port=number) for number in range(1, 8000, 2)]

    def allowing(*more: NetworkPolicyPeer, last: int = 8079) -> NetworkPolicy:
        wide = [*ports, NetworkPolicyPort(port=8001, endPort=last)]
        rule = NetworkPolicyIngressRule(from_=[*blocks, *more], ports=wide)
        return policy(NetworkPolicySpec(podSelector=TWO, ingress=[rule], policyTypes=["Ingress"]))

    host = NetworkPolicyPeer(ipBlock=IPBlock(cidr="10.42.0.0/24", except_=["10.42.0.64/26"]))
    await node.put(allowing())
    assert await ask(PODS[1], 8080, pid=node.one) == NOTHING
    await node.put(allowing(host))
    assert await ask(PODS[1], 8080, pid=node.one) == NOTHING
    await node.put(allowing(host, last=8080))
    assert await ask(PODS[1], 8080, pid=node.one) == ["two 10.42.0.2"]
    await node.put(allowing(peer("one"), last=8080))
    assert await ask(PODS[1], 8080, pid=node.one) == ["two 10.42.0.2"]
    everything = NetworkPolicyPeer(ipBlock=IPBlock(cidr="0.0.0.0/0"))
    await node.put(allowing(everything, last=65535))
    assert await ask(PODS[1], 8080, pid=node.one) == ["two 10.42.0.2"]
