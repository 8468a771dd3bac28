"""Messages of ARP are read and written as RFC 826 says, and others' are ignored."""

from ipaddress import IPv4Address

import pytest

from kubelite.net import arp

MAC, OTHER = bytes.fromhex("0a5900000001"), bytes.fromhex("020000000002")
VIP, CLIENT = IPv4Address("192.0.2.100").packed, IPv4Address("192.0.2.9").packed
REQUEST = bytes.fromhex("0001080006040001 020000000002 c0000209 000000000000 c0000264")


def test_a_request_is_read_and_answered() -> None:
    asked = arp.decode(REQUEST + bytes(18))  # Ethernet pads short frames
    assert asked == arp.Message(arp.REQUEST, OTHER, CLIENT, bytes(6), VIP)
    assert asked.encode() == REQUEST
    expected = "0001080006040002 0a5900000001 c0000264 020000000002 c0000209"
    assert arp.reply(asked, MAC) == bytes.fromhex(expected)


def test_announcements_say_where_an_address_is() -> None:
    asking, answering = map(arp.decode, arp.announcements("192.0.2.100", MAC))
    assert asking is not None
    assert answering is not None
    assert (asking.operation, answering.operation) == (arp.REQUEST, arp.REPLY)
    assert asking.is_announcement
    assert answering.is_announcement
    assert asking.sender_mac == answering.sender_mac == MAC


@pytest.mark.parametrize(
    ("at", "value"), [(0, 0x0006), (2, 0x86DD), (4, 0x0804), (4, 0x0610), (6, 3), (6, 0)]
)
def test_what_is_not_arp_of_ipv4_on_ethernet_is_ignored(at: int, value: int) -> None:
    data = bytearray(REQUEST)
    data[at : at + 2] = value.to_bytes(2, "big")
    assert arp.decode(bytes(data)) is None


def test_a_short_message_is_ignored() -> None:
    for length in range(len(REQUEST)):
        assert arp.decode(REQUEST[:length]) is None
