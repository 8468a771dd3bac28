"""What the host's end of a pod's link says."""

from kubelite.net.netlink import Link
from kubelite.net.pod_network import hardware_address, link_alias, link_name, parse_alias

UID = "0b6b3a86-5e43-4a4c-9d0e-7a0d9f3b8a11"


def test_names_fit_and_differ() -> None:
    assert len(link_name(UID)) == 14
    assert link_name(UID) != link_name(UID[:-1])


def test_the_alias_tells_owner_and_address() -> None:
    link = Link(4, link_name(UID), link_alias(UID, ["10.42.0.9"]))
    assert parse_alias(link) == (UID, ("10.42.0.9",))
    both = ("fd42::9", "10.42.0.9")
    assert parse_alias(Link(4, link_name(UID), link_alias(UID, both))) == (UID, both)


def test_other_links_are_left_alone() -> None:
    assert parse_alias(Link(4, "eth0", link_alias(UID, ["10.42.0.9"]))) is None
    assert parse_alias(Link(4, link_name(UID), "somebody else's")) is None
    assert parse_alias(Link(4, link_name(UID))) is None


def test_an_address_tells_the_hardware_address() -> None:
    assert hardware_address("10.42.0.9") == bytes.fromhex("0a580a2a0009")
    assert hardware_address("fd42::1:9") == bytes.fromhex("0a5800010009")
