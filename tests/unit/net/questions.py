"""Writes questions and reads answers, for tests."""

import socket

from kubelite.net.dns_wire import (
    CNAME,
    HEADER,
    OPT,
    PTR,
    RECORD,
    SRV,
    TXT,
    TYPE_CLASS,
    A,
    Name,
    ResourceRecord,
    encode_name,
    parse_name,
    read_name,
)


def question(
    name: str,
    record_type: int = A,
    *,
    message_id: int = 7,
    edns_bytes: int = 0,
    flags: int = 0x0100,
    keep_case: bool = False,
) -> bytes:
    labels: Name = parse_name(name)
    if keep_case:
        labels = tuple(label.encode() for label in name.strip(".").split("."))
    extra = b"\0" + RECORD.pack(OPT, edns_bytes, 0, 0) if edns_bytes else b""
    head = HEADER.pack(message_id, flags, 1, 0, 0, 1 if edns_bytes else 0)
    return head + encode_name(labels) + TYPE_CLASS.pack(record_type, 1) + extra


def dotted(name: Name) -> str:
    return b".".join(name).decode()


def told(record: ResourceRecord) -> str:
    """Say a record in words like those of zone files."""
    data, owner = record.data, dotted(record.name)
    if record.record_type == A:
        return f"{owner} A {socket.inet_ntoa(data)}"
    if record.record_type in (CNAME, PTR):
        word = "CNAME" if record.record_type == CNAME else "PTR"
        return f"{owner} {word} {dotted(read_name(data, 0)[0])}"
    if record.record_type == SRV:
        port = int.from_bytes(data[4:6], "big")
        return f"{owner} SRV {data[3]} {port} {dotted(read_name(data, 6)[0])}"
    if record.record_type == TXT:
        return f"{owner} TXT {data[1:].decode()}"
    return f"{owner} {record.record_type}"
