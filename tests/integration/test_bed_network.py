"""The network between the hosts of a bed: who reaches whom, what is lost, late or cut, and what changes at run time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import pytest
from testbed.bed import Bed
from testbed.fabric_rules import Faults, ruleset
from testbed.machine import Machine
from testbed.probe import call, carry, listen, reaches, seconds_to_call, send_datagrams
from testbed.topology import FAR, HOME, LAN, HostPlan, Link, Topology, one_link, spread

from integration.beds import needs_bed

pytestmark = needs_bed

SENT = 2000


@pytest.fixture(scope="module")
def whole() -> Iterator[Bed]:
    with Bed(spread(alpha=LAN, beta=LAN, gamma=FAR, delta=HOME), engines=False) as made:
        for machine in made:
            listen(machine)
        yield made


@pytest.fixture
def bed(whole: Bed) -> Iterator[Bed]:
    yield whole
    whole.fabric.mend()


def links_between(bed: Bed) -> set[str]:
    """Return who reaches whom, as `alpha>beta`."""
    pairs = list(permutations(bed, 2))
    with ThreadPoolExecutor(len(pairs)) as pool:
        reached = list(pool.map(reaches, *zip(*pairs, strict=True)))
    return {f"{a.name}>{b.name}" for (a, b), known in zip(pairs, reached, strict=True) if known}


def datagrams(machine: Machine) -> int:
    """Return how many datagrams have arrived at a host."""
    return int((call(machine, machine.address) or {})["datagrams"])


def caller_seen(machine: Machine, address: str) -> str:
    """Return the address under which a host is seen at an address; empty if it does not reach it."""
    return str((call(machine, address) or {}).get("peer", ""))


ALL = {f"{a}>{b}" for a, b in permutations(("alpha", "beta", "gamma", "delta"), 2)}
INTO_HOME = {"alpha>delta", "beta>delta", "gamma>delta"}


def test_all_reach_all_but_the_host_behind_translation(bed: Bed) -> None:
    before = bed.fabric.refused("home")
    assert links_between(bed) == ALL - INTO_HOME
    assert bed.fabric.refused("home") >= before + len(INTO_HOME)


def test_a_translated_host_is_seen_under_the_routers_address(bed: Bed) -> None:
    alpha, gamma, delta = bed["alpha"], bed["gamma"], bed["delta"]
    assert caller_seen(delta, alpha.address) == str(LAN.router.ip)
    assert caller_seen(delta, gamma.address) == str(FAR.router.ip)
    assert caller_seen(gamma, alpha.address) == gamma.address


def test_hosts_on_one_link_need_no_router(bed: Bed) -> None:
    route = bed["alpha"].run("ip", "route", "get", bed["beta"].address)
    assert "via" not in route
    assert f"via {LAN.router.ip}" in bed["alpha"].run("ip", "route", "get", bed["gamma"].address)


def test_cut_and_heal(bed: Bed) -> None:
    fabric = bed.fabric
    fabric.cut("alpha", "gamma")
    assert links_between(bed) == ALL - INTO_HOME - {"alpha>gamma", "gamma>alpha"}
    fabric.heal("alpha", "gamma")
    fabric.isolate("beta")
    assert links_between(bed) == {"alpha>gamma", "gamma>alpha", "delta>alpha", "delta>gamma"}
    fabric.heal()
    fabric.cut(("alpha", "beta"), ("gamma", "delta"))
    assert links_between(bed) == {"alpha>beta", "beta>alpha", "delta>gamma"}
    fabric.heal()
    assert links_between(bed) == ALL - INTO_HOME


def test_a_cut_of_one_direction_lets_the_other_one_pass(bed: Bed) -> None:
    alpha, beta = bed["alpha"], bed["beta"]
    at_alpha, at_beta = datagrams(alpha), datagrams(beta)
    bed.fabric.cut("alpha", "beta", one_way=True)
    send_datagrams(alpha, beta.address, 10)
    send_datagrams(beta, alpha.address, 10)
    assert datagrams(beta) == at_beta
    assert datagrams(alpha) == at_alpha + 10


@pytest.mark.parametrize("other", ["beta", "gamma"])
def test_a_share_of_the_packets_is_lost(bed: Bed, other: str) -> None:
    def arrived(sender: str, receiver: str) -> int:
        before = datagrams(bed[receiver])
        send_datagrams(bed[sender], bed[receiver].address, SENT)
        return datagrams(bed[receiver]) - before

    bed.fabric.lose("alpha", sent=0.5)
    assert SENT * 0.4 < arrived("alpha", other) < SENT * 0.6
    assert arrived(other, "alpha") == SENT
    bed.fabric.lose("alpha", received=0.25)
    assert arrived("alpha", other) == SENT
    assert SENT * 0.65 < arrived(other, "alpha") < SENT * 0.85
    bed.fabric.lose("alpha")
    assert arrived("alpha", other) == SENT


@pytest.mark.parametrize("other", ["beta", "gamma"])
def test_a_delay_can_be_set_changed_and_removed(bed: Bed, other: str) -> None:
    alpha, address = bed["alpha"], bed[other].address
    bed.fabric.delay("alpha", sent=0.1, received=0.05)
    assert seconds_to_call(alpha, address) >= 0.3  # two round trips
    assert seconds_to_call(bed[other], alpha.address) >= 0.3
    bed.fabric.delay("alpha", sent=0.2)
    assert seconds_to_call(alpha, address) >= 0.4
    bed.fabric.delay(other, received=0.2)
    assert seconds_to_call(alpha, address) >= 0.8
    bed.fabric.mend()
    assert min(seconds_to_call(alpha, address) for _ in range(5)) < 0.3
    assert links_between(bed) == ALL - INTO_HOME


def test_a_stream_passes_a_slow_cable_unchanged(bed: Bed) -> None:
    bed.fabric.delay("alpha", sent=0.005, received=0.005)
    assert carry(bed["alpha"], bed["beta"].address, 20 << 20)
    assert carry(bed["gamma"], bed["alpha"].address, 20 << 20)


def test_cuts_and_losses_hold_on_slow_cables_too(bed: Bed) -> None:
    bed.fabric.delay("alpha", sent=0.001, received=0.001)
    bed.fabric.cut("alpha", "beta")
    assert links_between(bed) == ALL - INTO_HOME - {"alpha>beta", "beta>alpha"}


def test_an_unplugged_host_sees_it_and_can_be_plugged_in_again(bed: Bed) -> None:
    alpha, beta = bed["alpha"], bed["beta"]
    bed.fabric.unplug("alpha")
    assert "NO-CARRIER" in alpha.run("ip", "link", "show", "eth0")
    assert not reaches(beta, alpha)
    bed.fabric.plug("alpha")
    assert reaches(beta, alpha)


def test_a_host_changes_its_address_and_its_link(bed: Bed) -> None:
    alpha, beta, gamma = bed["alpha"], bed["beta"], bed["gamma"]
    home = alpha.interface
    alpha.move(type(home)("192.0.2.77/24"))
    assert caller_seen(alpha, gamma.address) == "192.0.2.77"
    assert reaches(gamma, alpha)
    assert call(beta, str(home.ip)) is None
    bed.fabric.plug("alpha", "far")
    alpha.move(type(home)("198.51.100.77/24"), str(FAR.router.ip))
    assert caller_seen(alpha, beta.address) == "198.51.100.77"
    assert reaches(gamma, alpha)
    bed.fabric.plug("alpha", "lan")
    alpha.move(home, str(LAN.router.ip))
    assert links_between(bed) == ALL - INTO_HOME


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        one_link("a", "a")
    with pytest.raises(ValueError, match="longer"):
        one_link("a-name-that-is-long")
    with pytest.raises(ValueError, match="no such links"):
        Topology((LAN,), (HostPlan("a", "nowhere"),))
    with pytest.raises(ValueError, match="no such links"):
        Topology((Link("x", "192.0.2.0/24", behind="nowhere"),), ())


def test_rules_are_one_transaction_that_replaces_the_former_ones() -> None:
    faults = Faults(cuts={("a", "b")}, lost_to={"a": 0.015})
    text = ruleset(["a", "b"], [LAN, HOME], faults)
    assert 'meta mark 1 oifname { "c-b", "d-b" } drop' in text
    assert 'oifname { "c-a", "d-a" } numgen random mod 10000 < 150 drop' in text
    assert "meta mark 2" not in text.replace("meta mark set 2", "")
    assert text.count("delete table") == text.count("table bridge bed {\n") + text.count(
        "table ip bed {\n"
    )
