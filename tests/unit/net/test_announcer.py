"""A node answers for its addresses only, ends when another one claims them, and asks the API at most so often."""

from ipaddress import IPv4Address

import msgspec
import pytest
from fakes.network_objects import NODE, service

from kubelite.api.kinds.core.services import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServiceStatus,
)
from kubelite.api.kinds.meta import Condition
from kubelite.api.machinery.load_balancing import ANNOUNCED
from kubelite.net import arp
from kubelite.net.announcer import Answers, Owned, owned_by
from kubelite.net.ruleset import ProxySettings

MAC, OTHER = bytes.fromhex("0a5900000001"), bytes.fromhex("020000000002")
VIP, CLIENT = IPv4Address("192.0.2.100").packed, IPv4Address("192.0.2.9").packed
OWNED = Owned("192.0.2.100", "default", "web")
ASKED = arp.Message(arp.REQUEST, OTHER, CLIENT, bytes(6), VIP)
CLAIM = arp.Message(arp.REQUEST, OTHER, VIP, bytes(6), VIP)


def answers() -> Answers:
    made = Answers()
    made.give(VIP, OWNED)
    return made


def balanced(address: str = "192.0.2.100", node: str = NODE, **spec: object) -> Service:
    ingress = [LoadBalancerIngress(ip=address, ipMode="VIP")]
    conditions = [Condition(type=ANNOUNCED, status="True", message=node)] if node else []
    status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=ingress), conditions=conditions)
    item = service(**{"type": "LoadBalancer", **spec})  # type: ignore[arg-type]  # words of a spec
    return msgspec.structs.replace(item, status=status)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (balanced(), OWNED),
        (balanced(node="other"), None),
        (balanced(node=""), None),
        (balanced(loadBalancerClass="example.com/other"), None),
        (balanced(type="ClusterIP"), None),
        (balanced("10.42.0.7"), None),  # a pod's
        (balanced("10.43.0.1"), None),  # a Service's
        (balanced("127.0.0.1"), None),
        (balanced("224.0.0.1"), None),
        (balanced("2001:db8::1"), None),
        (balanced("web"), None),
    ],
)
def test_addresses_that_a_node_answers_for(item: Service, expected: Owned | None) -> None:
    assert owned_by(item, NODE, ProxySettings(NODE)) == ([] if expected is None else [expected])


def test_a_node_answers_for_every_address_of_a_service_by_family() -> None:
    texts = ["192.0.2.100", "2001:db8::1", "192.0.2.101", "192.0.2.100", "10.42.0.9", "2001:DB8::2"]
    entries = [LoadBalancerIngress(ip=text, ipMode="VIP") for text in texts]
    status = ServiceStatus(
        loadBalancer=LoadBalancerStatus(ingress=entries), conditions=balanced().status.conditions
    )
    item = msgspec.structs.replace(balanced(), status=status)
    found = owned_by(item, NODE, ProxySettings(NODE))
    assert [one.address for one in found] == ["192.0.2.100", "192.0.2.101"]
    six = ProxySettings(NODE, "fd42::/56", "fd43::/112", ("fd43::a",))
    assert [one.address for one in owned_by(item, NODE, six)] == ["2001:db8::1", "2001:db8::2"]


def test_only_requests_for_own_addresses_are_answered() -> None:
    found = answers()
    assert found.hear(ASKED, MAC) == (arp.reply(ASKED, MAC), None)
    elsewhere = msgspec.structs.replace(ASKED, target=CLIENT)
    answer = msgspec.structs.replace(ASKED, operation=arp.REPLY)
    own = msgspec.structs.replace(ASKED, sender_mac=MAC)
    for message in (elsewhere, answer, own):
        assert found.hear(message, MAC) == (None, None)
    found.take(VIP)
    assert found.hear(ASKED, MAC) == (None, None)


def test_another_nodes_claim_silences_until_the_api_has_said_whose_it_is() -> None:
    found = answers()
    assert found.hear(msgspec.structs.replace(CLAIM, sender_mac=MAC), MAC) == (None, None)
    assert found.hear(CLAIM, MAC) == (None, VIP)
    assert not found.is_sure(VIP)  # so that announcements under way end as well
    assert found.hear(ASKED, MAC) == (None, None)
    assert found.hear(CLAIM, MAC) == (None, None)  # it is being asked about
    assert found.defend(VIP)
    assert found.hear(ASKED, MAC) == (arp.reply(ASKED, MAC), None)
    for _ in range(100):  # a machine that goes on claiming it costs no more questions
        assert found.hear(CLAIM, MAC) == (None, None)
    found.rest(VIP)
    assert found.hear(CLAIM, MAC) == (None, VIP)
    found.take(VIP)
    assert not found.defend(VIP)
