"""Telling others' changes from our own."""

from kubelite.net.netlink_messages import HEADER, encode_attributes
from kubelite.net.rule_watch import ChangeReader


def message(kind: int, attributes: dict[int, bytes]) -> bytes:
    body = b"\2\0\0\0" + encode_attributes(attributes)
    return HEADER.pack(HEADER.size + len(body), 10 << 8 | kind, 0, 0, 0) + body


def ending(process: bytes) -> bytes:
    return message(15, {1: b"\0\0\0\7", 2: b"\0\0\1\0", 3: process + b"\0"})


def test_a_flush_by_others_is_told_when_its_transaction_ends() -> None:
    reader = ChangeReader()
    assert reader.read(message(2, {1: b"kubelite\0"})) == set()
    assert reader.read(message(8, {1: b"filter\0"}) + ending(b"nft")) == {"kubelite", "filter"}
    assert reader.read(ending(b"nft")) == set()


def test_own_changes_are_not_told() -> None:
    assert ChangeReader().read(message(8, {1: b"kubelite\0"}) + ending(b"kubelite-rules")) == set()


def test_additions_other_than_chains_do_no_harm() -> None:
    assert ChangeReader().read(message(6, {1: b"kubelite\0"}) + ending(b"nft")) == set()
