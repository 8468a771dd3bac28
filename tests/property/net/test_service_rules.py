"""Whatever services there are: rules name only chains and sets that are there, and differences lead to them."""

import re

import msgspec
from fakes.network_objects import NODE, endpoint, endpoint_slice, port, service
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.kinds.core.services import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServiceStatus,
)
from kubelite.api.kinds.discovery import Endpoint, EndpointSlice
from kubelite.api.kinds.meta import Condition
from kubelite.api.machinery.load_balancing import ANNOUNCED, addresses_of
from kubelite.net.families import IPV4
from kubelite.net.ruleset import ProxySettings, Ruleset, collections, difference, merge
from kubelite.net.services import service_rules

NODE_ADDRESS = "198.51.100.1"
SETTINGS = ProxySettings(node_name=NODE, node_addresses=(NODE_ADDRESS,))
FIXED_CHAINS = {"mark-masquerade", "refuse"}

endpoints = st.builds(
    lambda number, node, ready, serving, terminating: endpoint(
        f"10.42.0.{number}", node, ready=ready, serving=serving, terminating=terminating
    ),
    st.integers(2, 9),
    st.sampled_from([NODE, "other"]),
    st.sampled_from([None, True, False]),
    st.booleans(),
    st.booleans(),
)


def balanced(item: Service, ingress: list[str], *, announced: bool) -> Service:
    """Give a Service addresses in its status, and a node that announces them."""
    found = [LoadBalancerIngress(ip=address, ipMode="VIP") for address in ingress]
    conditions = [Condition(type=ANNOUNCED, status="True", message=NODE)] if announced else []
    balancer = LoadBalancerStatus(ingress=found)
    status = ServiceStatus(loadBalancer=balancer, conditions=conditions)
    return msgspec.structs.replace(item, status=status)


services = st.builds(
    lambda name, number, kind, affinity, internal, external, address, ranges, ingress, announced: (
        balanced(
            service(
                name,
                f"10.43.0.{number}",
                type=kind,
                ports=[port(80, name="a", node_port=30000 + number), port(53, "UDP", "b")],
                sessionAffinity=affinity,
                internalTrafficPolicy=internal,
                externalTrafficPolicy=external,
                externalIPs=address,
                loadBalancerSourceRanges=ranges,
            ),
            ingress,
            announced=announced,
        )
    ),
    st.sampled_from(["x", "y"]),
    st.integers(1, 3),
    st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]),
    st.sampled_from(["None", "ClientIP"]),
    st.sampled_from(["Cluster", "Local"]),
    st.sampled_from(["Cluster", "Local"]),
    st.lists(st.just("203.0.113.7"), max_size=1),
    st.lists(st.sampled_from(["192.0.2.0/24", "198.51.100.0/25"]), max_size=1),
    st.lists(st.sampled_from([NODE_ADDRESS, "203.0.113.9", "10.43.0.1"]), max_size=2),
    st.booleans(),
)


def slices(name: str, entries: list[Endpoint]) -> list[EndpointSlice]:
    return [
        endpoint_slice(*entries, service_name=name, name="tcp", port_name="a"),
        endpoint_slice(*entries, service_name=name, name="udp", port_name="b", protocol="UDP"),
    ]


def rules(entries: list[tuple[Service, list[Endpoint]]]) -> Ruleset:
    by_name = {item.metadata.name: (item, found) for item, found in entries}
    return merge(
        service_rules(item, slices(name, found), SETTINGS)
        for name, (item, found) in sorted(by_name.items())
    )


states = st.lists(st.tuples(services, st.lists(endpoints, max_size=4)), max_size=2).map(rules)


def names_used(ruleset: Ruleset) -> set[str]:
    texts = [rule for chain in ruleset.chains.values() for rule in chain]
    texts += ruleset.elements.values()
    return {name for text in texts for name in re.findall(r"(?:goto|jump) (\S+?)(?:,|\s|$)", text)}


@given(states)
def test_rules_are_closed(state: Ruleset) -> None:
    assert names_used(state) <= state.chains.keys() | FIXED_CHAINS
    sets = {
        name
        for rules in state.chains.values()
        for rule in rules
        for name in re.findall(r"@(\S+)", rule)
    }
    assert sets == set(state.sets)
    assert {collection for collection, _ in state.elements} <= collections(IPV4).keys()
    dispatched = {key for (collection, key) in state.elements if collection == "services"}
    refused = {
        key
        for (where, key), value in state.elements.items()
        if where == "service-filter" and "refuse" in value
    }
    assert not dispatched & refused


@given(services, st.lists(endpoints, max_size=4))
def test_load_balancers_lead_nowhere_without_their_fence(
    item: Service, found: list[Endpoint]
) -> None:
    """Every way in through an address of the load balancer passes the source ranges, and no other way is added."""
    ruleset = service_rules(item, slices(item.metadata.name, found), SETTINGS)
    # An address that is the Service's anyway is no way in that the load balancer adds.
    ingress = set(addresses_of(item)) - {item.spec.clusterIP, *item.spec.externalIPs}
    for collection, key in ruleset.elements:
        address = key.split(" . ")[0]
        if collection == "services" and address in ingress:
            filtered = ruleset.elements.get(("service-filter", key), "")
            assert bool(item.spec.loadBalancerSourceRanges) == filtered.startswith("goto firewall/")
    ports = {"tcp . 80", "udp . 53"} & {
        key for collection, key in ruleset.elements if collection.startswith("node-port")
    }
    assert ports == ({"tcp . 80", "udp . 53"} if NODE_ADDRESS in ingress else set())
    if item.spec.loadBalancerSourceRanges:
        for key in ports:
            assert ruleset.elements["node-port-filter", key].startswith("goto ")
    balancing = {key for collection, key in ruleset.elements if collection == "balanced"}
    assert balancing == (ingress - {"10.43.0.1"} if any(item.status.conditions) else set())


@given(states, states)
def test_a_difference_leads_from_any_state_to_any_other(before: Ruleset, after: Ruleset) -> None:
    table = Table(before)
    for command in commands(difference(before, after)):
        table.run(command)
    assert table.chains == {name: list(rules) for name, rules in after.chains.items()}
    assert table.elements == after.elements
    assert table.sets == set(after.sets)


def commands(text: str) -> list[str]:
    """Split a transaction into single commands, the block opened to `add` commands."""
    found, chain = [], ""
    for line in text.splitlines():
        word = line.split()
        if line.startswith("  set "):
            found.append(f"add set {word[1]}")
        elif line.startswith("  chain "):
            chain = word[1]
            found.append(f"add chain {chain}")
        elif line.startswith("    "):
            found.append(f"add rule {chain} {line.strip()}")
        elif word[0] not in ("table", "}"):
            found.append(line.replace(" ip kubelite", ""))
    return found


class Table:
    """A model of nftables that refuses what the kernel refuses."""

    def __init__(self, ruleset: Ruleset) -> None:
        self.chains = {name: list(rules) for name, rules in ruleset.chains.items()}
        self.elements = dict(ruleset.elements)
        self.sets = set(ruleset.sets)

    def run(self, command: str) -> None:
        verb, what, name, *rest = command.split(" ", 3)
        match verb, what:
            case "add", "set":
                self.sets.add(name)
            case "add", "chain":
                self.chains.setdefault(name, [])
            case "add", "rule":
                self.chains[name].append(rest[0])
                assert self._used() <= self.chains.keys() | FIXED_CHAINS
            case "flush", "chain":
                self.chains[name].clear()
            case "delete", "chain":
                assert not self.chains.pop(name)
                assert name not in self._used()
            case "delete", "set":
                self.sets.remove(name)
                rules = [rule for chain in self.chains.values() for rule in chain]
                assert not any(f"@{name} " in rule for rule in rules)
            case _, "element":
                self._change_elements(verb, name, rest[0])
            case _:
                raise AssertionError(command)

    def _change_elements(self, verb: str, collection: str, text: str) -> None:
        for element in text.strip("{} ").split(", "):
            key, _, value = element.partition(" : ")
            if verb == "delete":
                del self.elements[collection, key]
            else:
                assert (collection, key) not in self.elements
                self.elements[collection, key] = value
                assert (
                    not value
                    or value == "drop"
                    or value.split()[1] in self.chains.keys() | FIXED_CHAINS
                )

    def _used(self) -> set[str]:
        chains = {name: tuple(rules) for name, rules in self.chains.items()}
        return names_used(Ruleset(chains=chains, elements=self.elements))
