"""Rules cost what their objects hold, not products of it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import pytest
from fakes.mirrored import MirroringClient
from fakes.network_objects import NODE, endpoint, endpoint_slice, port, service
from fakes.recorded_offload import RecordedOffload
from msgspec.structs import replace

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceStatus,
)
from kubelite.api.kinds.discovery import Endpoint, EndpointPort, EndpointSlice
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.kinds.networking import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from kubelite.api.machinery.selectors import Selector
from kubelite.limits import INLINE_WORK, POLICY_RULES, SERVICE_RULES
from kubelite.net import policies
from kubelite.net.policies import STEPS_AT_ONCE, Member, Pace, cost_bytes, policy_rules
from kubelite.net.policy_source import PolicySource
from kubelite.net.ruleset import ProxySettings, Ruleset
from kubelite.net.services import cost_bytes as service_cost_bytes
from kubelite.net.services import is_cut, service_rules
from kubelite.net.trusted_text import AddressText

SETTINGS = ProxySettings(node_name=NODE)
LOCAL = Member("default", {"app": "web"}, AddressText("10.42.0.2"), True, (("http", "tcp", 8080),))


class Counted(list[Endpoint]):
    """Endpoints that count how often one is read."""

    reads = 0

    def __iter__(self) -> Iterator[Endpoint]:
        for one in super().__iter__():
            Counted.reads += 1
            yield one


def ports_named(count: int) -> list[ServicePort]:
    return [port(number + 1, name=f"n{number}") for number in range(count)]


def slice_of(addresses: Iterable[str], ports: int) -> EndpointSlice:
    named = [EndpointPort(name=f"n{n}", port=8000, protocol="TCP") for n in range(ports)]
    return replace(endpoint_slice(), ports=named, endpoints=Counted(map(endpoint, addresses)))


def addresses(count: int, first: int = 0) -> list[str]:
    return [f"10.{first}.{number // 250}.{number % 250 + 1}" for number in range(count)]


@pytest.mark.parametrize("count", [20, 40])
def test_an_endpoint_is_read_once_however_many_ports_a_service_has(count: int) -> None:
    Counted.reads = 0
    found = service_rules(
        service(ports=ports_named(count)), [slice_of(addresses(100), count)], SETTINGS
    )
    assert len(found.chains) == count
    assert Counted.reads == 100


def huge() -> tuple[Service, list[EndpointSlice]]:
    item = service(ports=ports_named(500), externalIPs=addresses(1000, 9))
    return item, [slice_of(addresses(1000, first), 500) for first in (1, 2)]


def test_ports_times_endpoints_and_addresses_are_bounded() -> None:
    item, slices = huge()
    before = SERVICE_RULES.times_reached
    found = service_rules(item, slices, SETTINGS)
    assert SERVICE_RULES.times_reached == before + 1
    each = SERVICE_RULES.value // 500
    text = found.chains["service/default/web/tcp/1"][-1]
    assert f"mod {each} map" in text
    assert len(found.elements) == 500 * (1 + each) + each  # hairpins too, each once
    assert is_cut(item, slices)
    assert not is_cut(service(), [slice_of(addresses(1000), 1)])
    assert service_cost_bytes(item, slices) > INLINE_WORK.value
    assert service_cost_bytes(service(), [slice_of(addresses(10), 1)]) < INLINE_WORK.value


def test_endpoints_of_a_service_with_affinity_have_a_tenth() -> None:
    item = service(sessionAffinity="ClientIP", ports=ports_named(50))
    found = service_rules(item, [slice_of(addresses(500), 50)], SETTINGS)
    assert len(found.sets) == SERVICE_RULES.value // 10


@pytest.mark.parametrize("count", [1000, 20_000])
def test_source_ranges_are_one_rule(count: int) -> None:
    ranges = [f"192.{number % 256}.{number // 256}.0/25" for number in range(count)]
    item = service(type="LoadBalancer", loadBalancerSourceRanges=ranges, ports=[port(80), port(81)])
    balancer = LoadBalancerStatus(ingress=[LoadBalancerIngress(ip="203.0.113.7")])
    item = replace(item, status=ServiceStatus(loadBalancer=balancer))
    found = service_rules(item, [slice_of(["10.42.0.2"], 1), endpoint_slice("10.42.0.2")], SETTINGS)
    fences = [rules for name, rules in found.chains.items() if name.startswith("firewall/")]
    assert len(fences) == 2
    assert fences[0] == fences[1]
    assert len(fences[0]) == 2
    (name,) = found.sets
    assert fences[0] == (f"ip saddr @{name} return", "drop")
    assert found.sets[name].startswith(
        "type ipv4_addr; flags interval; elements = { 192.0.0.0-192.0.0.127,"
    )


def policy(
    peers: list[NetworkPolicyPeer], ports: list[NetworkPolicyPort], name: str = "p"
) -> NetworkPolicy:
    rule = NetworkPolicyIngressRule(from_=peers, ports=ports)
    return NetworkPolicy(
        metadata=ObjectMeta(namespace="default", name=name),
        spec=NetworkPolicySpec(
            podSelector=LabelSelector(), ingress=[rule], policyTypes=["Ingress"]
        ),
    )


def chain_of(found: Ruleset) -> tuple[str, ...]:
    return found.chains[found.elements["ingress-pods", LOCAL.address].removeprefix("jump ")]


@pytest.mark.parametrize("count", [1000, 2000])
def test_blocks_and_ports_are_sets_not_a_line_for_each_pair(count: int) -> None:
    blocks = [
        NetworkPolicyPeer(ipBlock=IPBlock(cidr=f"192.{n % 256}.{n // 256}.0/25"))
        for n in range(count)
    ]
    ports = [NetworkPolicyPort(port=2 * number + 1) for number in range(count)]
    found = policy_rules([policy(blocks, ports)], [LOCAL], {})
    (line, drop) = chain_of(found)
    assert drop == "drop"
    assert line.startswith("ip saddr @blocks/")
    assert " tcp dport @numbers/" in line
    assert len(found.sets) == 2


@pytest.mark.parametrize("count", [500, 1000])
def test_pods_of_other_labels_are_not_asked(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    asked = 0
    plain = policies._selector

    class Asking:
        def __init__(self, selector: LabelSelector | None) -> None:
            self._selector = plain(selector)

        def matches(self, labels: object) -> bool:
            nonlocal asked
            asked += 1
            return self._selector.matches(labels)  # type: ignore[arg-type]  # as wide as its caller's

    monkeypatch.setattr(policies, "_selector", Asking)
    peers = [
        NetworkPolicyPeer(podSelector=LabelSelector(matchLabels={"app": f"a{number}"}))
        for number in range(count)
    ]
    pods = [
        LOCAL,
        *(
            Member("default", {"app": f"a{n}"}, AddressText(f"10.1.{n // 250}.{n % 250 + 1}"))
            for n in range(count)
        ),
    ]
    found = policy_rules([policy(peers, [])], pods, {})
    assert len(found.elements) == count + 1
    assert asked <= 2 * count + 2  # each pod as a peer, and as one that is protected


def test_what_does_not_fit_is_not_allowed_and_the_policy_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(POLICY_RULES, "value", 100)
    peers = [NetworkPolicyPeer(podSelector=LabelSelector(matchLabels={"app": "a"}))]
    pods = [
        LOCAL,
        *(Member("default", {"app": "a"}, AddressText(address)) for address in addresses(500)),
    ]
    before = POLICY_RULES.times_reached
    found = policy_rules([policy(peers, [])], pods, {})
    assert sum(name.startswith("peers/") for name, _ in found.elements) == 100
    assert found.cut_policies == {"default/p"}
    assert POLICY_RULES.times_reached == before + 1
    assert chain_of(found) == ("drop",)


async def test_many_policies_leave_the_loop() -> None:
    async def cost_of(count: int) -> int:
        client, offload = MirroringClient(), RecordedOffload()
        client.put(
            *(
                policy([NetworkPolicyPeer(podSelector=LabelSelector())], [], f"p{n}")
                for n in range(count)
            )
        )
        client.put(
            *(Pod(metadata=ObjectMeta(namespace="default", name=f"p{n}")) for n in range(count))
        )
        source = PolicySource(client.as_client(), [SETTINGS], offload, lambda: None)
        await source.start()
        await source.rules()
        return max(offload.costs)

    few, many = await cost_of(100), await cost_of(1000)
    assert few < INLINE_WORK.value < many
    assert 9 * few <= many <= 11 * few
    assert cost_bytes([], 5) > 0


class CountedSelector:
    """A selector that counts what is compared with any."""

    compared = 0

    def __init__(self, selector: Selector) -> None:
        self._selector = selector

    def matches(self, labels: Mapping[str, str]) -> bool:
        CountedSelector.compared += 1
        return self._selector.matches(labels)


def selecting(name: str, who: dict[str, str], whom: dict[str, str]) -> NetworkPolicy:
    peer = NetworkPolicyPeer(podSelector=LabelSelector(matchLabels=whom))
    spec = NetworkPolicySpec(
        podSelector=LabelSelector(matchLabels=who),
        ingress=[NetworkPolicyIngressRule(from_=[peer])],
        policyTypes=["Ingress"],
    )
    return NetworkPolicy(metadata=ObjectMeta(namespace="default", name=name), spec=spec)


def pods_of(count: int) -> list[Member]:
    return [
        Member(
            "default",
            {"app": f"a{n % 100}", "n": str(n)},
            AddressText(f"10.42.{n // 250}.{n % 250}"),
            True,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("who", [{}, {"app": "a1"}])
def test_the_loop_goes_on_after_each_slice_of_the_work(
    monkeypatch: pytest.MonkeyPatch, who: dict[str, str]
) -> None:
    whole = policies._selector
    monkeypatch.setattr(policies, "_selector", lambda one: CountedSelector(whole(one)))
    CountedSelector.compared = 0
    seen = [0]
    some = [selecting(f"n{n}", who, {} if n % 2 else {"app": f"a{n % 100}"}) for n in range(300)]
    policy_rules(some, pods_of(200), {}, pace=Pace(lambda: seen.append(CountedSelector.compared)))
    assert len(seen) > 2
    assert max(after - before for before, after in pairwise(seen)) <= STEPS_AT_ONCE
    assert CountedSelector.compared - seen[-1] <= STEPS_AT_ONCE


def test_pods_are_compared_with_the_policies_that_may_select_them_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = policies._selector
    monkeypatch.setattr(policies, "_selector", lambda one: CountedSelector(whole(one)))
    CountedSelector.compared = 0
    some = [selecting(f"n{n}", {"app": f"a{n % 100}"}, {"n": "1"}) for n in range(1000)]
    found = policy_rules(some, pods_of(500), {}, pace=Pace(lambda: None))
    assert len([key for key in found.elements if key[0] == "ingress-pods"]) == 500
    # Ten policies for each of 500 pods, and one pod that their peers name.
    assert CountedSelector.compared == 500 * 10 + 1


def test_a_range_of_ports_that_ends_before_it_begins_allows_nothing() -> None:
    wrong = [NetworkPolicyPort(port=number, endPort=number - 1) for number in range(8000, 8100)]
    found = policy_rules([policy([], wrong)], [LOCAL], {})
    assert chain_of(found) == ("drop",)
    assert chain_of(policy_rules([policy([], wrong[:2])], [LOCAL], {})) == ("drop",)
