"""Messages of neighbour discovery are read and written as RFC 4861 says, and others' are ignored."""

from ipaddress import IPv6Address

import pytest

from kubelite.net import arp, ndp

MAC, OTHER = bytes.fromhex("0a5900000001"), bytes.fromhex("020000000002")
VIP, CLIENT = IPv6Address("2001:db8::50").packed, IPv6Address("fe80::2").packed


def solicitation(
    source: bytes = CLIENT, *, hops: int = 255, kind: int = 135, code: int = 0
) -> bytes:
    body = ndp.BODY.pack(kind, code, 0, 0, VIP) + ndp.OPTION.pack(ndp.SOURCE_LINK, 1, OTHER)
    group = ndp.solicited_group(VIP)
    return ndp.HEADER.pack(6 << 28, len(body), 58, hops, source, group) + body


def test_a_question_is_read_and_answered() -> None:
    asked = ndp.decode(solicitation() + bytes(4), OTHER)
    assert asked == arp.Message(arp.REQUEST, OTHER, CLIENT, bytes(6), VIP)
    answered = ndp.reply(asked, MAC)
    assert answered == bytes.fromhex(
        "60000000 0020 3a ff 20010db8000000000000000000000050 fe800000000000000000000000000002"
        "88 00 b0b4 60000000 20010db8000000000000000000000050 0201 0a5900000001"
    )
    # As the receiver checks it: with its checksum, all sums up to nothing.
    pseudo = VIP + CLIENT + (32).to_bytes(4, "big") + (58).to_bytes(4, "big")
    assert ndp.checksum(pseudo + answered[40:]) == 0


def test_one_that_has_no_address_yet_is_answered_before_all() -> None:
    asked = ndp.decode(solicitation(bytes(16)), OTHER)
    assert asked is not None
    answered = ndp.reply(asked, MAC)
    assert answered[24:40] == ndp.ALL_NODES
    assert answered[44:48] == bytes.fromhex("20000000")  # not solicited


def test_an_announcement_is_known_as_one() -> None:
    heard = ndp.decode(ndp.announcement(VIP, OTHER), OTHER)
    assert heard is not None
    assert heard.is_announcement
    assert (heard.sender, heard.sender_mac) == (VIP, OTHER)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        solicitation()[:60],
        solicitation(hops=254),  # it came through a router
        solicitation(kind=134),
        solicitation(code=1),
        b"\x45" + solicitation()[1:],
        solicitation()[:6] + b"\x11" + solicitation()[7:],
    ],
)
def test_others_are_ignored(data: bytes) -> None:
    assert ndp.decode(data, OTHER) is None


def test_the_group_that_is_asked() -> None:
    assert str(IPv6Address(ndp.solicited_group(VIP))) == "ff02::1:ff00:50"
