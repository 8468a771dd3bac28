"""Whatever Services, nodes and host ports there are: a port or address is one Service's, and what is held is kept."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.kinds.core.services import Service, ServiceStatus
from kubelite.api.kinds.meta import Condition
from kubelite.api.machinery.load_balancing import ANNOUNCED
from kubelite.control.load_balancing import (
    Claim,
    Host,
    Outcome,
    Pool,
    family_of,
    from_pool,
    key_of,
    on_nodes,
    ports_of,
)

CLAIMS: list[Claim] = [("TCP", 80), ("UDP", 80), ("TCP", 443)]
FIRST = int(IPv4Address("192.0.2.100"))
SIXTH = int(IPv6Address("2001:db8::100"))
POOL = Pool(((FIRST, FIRST + 2), (FIRST + 10, FIRST + 10), (SIXTH, SIXTH + 1)))
FAMILIES = (["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv6", "IPv4"])


def service(
    name: str, age: int, claims: list[Claim], wanted: str, families: list[str], *, must: bool
) -> Service:
    several = "RequireDualStack" if must else "PreferDualStack"
    body: dict[str, Any] = {
        "metadata": {
            "namespace": "default",
            "name": name,
            "uid": name,
            "creationTimestamp": f"2026-01-01T00:00:0{age}Z",
        },
        "spec": {
            "type": "LoadBalancer",
            "ports": [{"protocol": protocol, "port": port} for protocol, port in claims],
            "loadBalancerIP": wanted,
            "ipFamilies": families,
            "ipFamilyPolicy": several if len(families) > 1 else "SingleStack",
        },
    }
    return msgspec.convert(body, Service)


claims = st.lists(st.sampled_from(CLAIMS), min_size=1, max_size=2, unique=True)
services = st.lists(
    st.builds(
        service,
        st.sampled_from("abcdef"),
        st.integers(0, 3),
        claims,
        st.sampled_from(["", "", "192.0.2.101", "192.0.2.110", "198.51.100.1", "2001:db8::101"]),
        st.sampled_from(FAMILIES),
        must=st.booleans(),
    ),
    max_size=6,
    unique_by=key_of,
)
hosts = st.lists(
    st.builds(
        lambda number, taken, families: Host(
            f"n{number}",
            {"IPv4": f"10.0.0.{number}", "IPv6": f"2001:db8::{number}"}
            if len(families) > 1
            else {"IPv4": f"10.0.0.{number}"},
            dict.fromkeys(taken, "ns/pod"),
        ),
        st.integers(1, 4),
        st.lists(st.sampled_from(CLAIMS), max_size=1),
        st.sampled_from(FAMILIES),
    ),
    max_size=4,
    unique_by=lambda host: host.name,
)


def written(item: Service, outcome: Outcome) -> Service:
    """Return a Service as the controller writes it."""
    conditions = []
    if outcome.announcer is not None:
        status = "True" if outcome.announcer else "False"
        conditions.append(Condition(type=ANNOUNCED, status=status, message=outcome.announcer))
    status_of = ServiceStatus(conditions=conditions)
    status_of = msgspec.structs.replace(
        status_of,
        loadBalancer=msgspec.structs.replace(status_of.loadBalancer, ingress=list(outcome.ingress)),
    )
    return msgspec.structs.replace(item, status=status_of)


@given(services, services, hosts)
def test_a_port_of_a_node_is_one_services_and_kept_when_others_come(
    first: list[Service], later: list[Service], places: list[Host]
) -> None:
    before = on_nodes(first, places, {}, {})
    held = [written(one, before[key_of(one)]) for one in first]
    assert on_nodes(held, places, {}, {}).keys() == before.keys()
    names = {key_of(one) for one in first}
    everybody = [*held, *(one for one in later if key_of(one) not in names)]
    after = on_nodes(everybody, places, {}, {})
    owners: dict[tuple[str, Claim], str] = {}
    for item in everybody:
        for entry in after[key_of(item)].ingress:
            for claim in ports_of(item):
                assert owners.setdefault((entry.ip, claim), key_of(item)) == key_of(item)
                [host] = [one for one in places if entry.ip in one.addresses.values()]
                assert claim not in host.taken
    for item in held:
        if before[key_of(item)].ingress:
            assert after[key_of(item)].ingress == before[key_of(item)].ingress
    for outcome in after.values():
        assert outcome.ingress or outcome.reason


@given(services, services, hosts, hosts)
def test_an_address_of_the_pool_is_one_services_and_kept(
    first: list[Service], later: list[Service], places: list[Host], then: list[Host]
) -> None:
    before = from_pool(first, POOL, places, {}, set())
    held = [written(one, before[key_of(one)]) for one in first]
    names = {key_of(one) for one in first}
    everybody = [*held, *(one for one in later if key_of(one) not in names)]
    after = from_pool(everybody, POOL, then, {}, {"192.0.2.102"} - _given(before))
    addresses = [entry.ip for outcome in after.values() for entry in outcome.ingress]
    assert len(set(addresses)) == len(addresses)
    assert all(address in POOL for address in addresses)
    present = {host.name for host in then}
    for item in held:
        old, new = before[key_of(item)], after[key_of(item)]
        if old.ingress:
            # A family that was missing may have come.
            assert all(entry in new.ingress for entry in old.ingress)
            if old.announcer in present:
                assert new.announcer == old.announcer
    for item in everybody:
        outcome = after[key_of(item)]
        wanted = item.spec.loadBalancerIP
        if outcome.ingress and wanted:
            assert wanted in [entry.ip for entry in outcome.ingress]
        found = [family_of(entry.ip) for entry in outcome.ingress]
        assert len(set(found)) == len(found)
        assert set(found) <= set(item.spec.ipFamilies)
        if found and item.spec.ipFamilyPolicy == "RequireDualStack":
            assert len(found) == 2
        if outcome.announcer and then:
            assert outcome.announcer in present


def _given(outcomes: dict[str, Outcome]) -> set[str]:
    return {entry.ip for outcome in outcomes.values() for entry in outcome.ingress}
