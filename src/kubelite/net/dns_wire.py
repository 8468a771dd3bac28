"""DNS messages: questions read, answers written, as RFC 1035, 2782 and 6891 lay them out.

What comes from outside is bounded: a compression pointer must point backwards, a name has 255 bytes, a question is one.
"""

import struct
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 41, 255
INTERNET = 1
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED = range(6)
BAD_VERSION = 16

HEADER: Final = struct.Struct("!HHHHHH")  # id, flags, questions, answers, authorities, additionals
TYPE_CLASS: Final = struct.Struct("!HH")
RECORD: Final = struct.Struct("!HHIH")  # type, class, ttl, data length
IS_RESPONSE, AUTHORITATIVE, TRUNCATED, RECURSION_DESIRED, RECURSION_AVAILABLE = (
    0x8000,
    0x0400,
    0x0200,
    0x0100,
    0x0080,
)
CHECKING_DISABLED = 0x0010
OPCODE_MASK = 0x7800
DNSSEC_OK = 0x8000

UDP_LIMIT_BYTES = 512
OWN_UDP_LIMIT_BYTES = 1232  # the size that fits unfragmented (DNS flag day 2020)
MESSAGE_LIMIT_BYTES = 65535
NAME_LIMIT_BYTES = 255

Name = tuple[bytes, ...]  # labels in lower case, the root left out


class Malformed(Exception):
    """Bytes that are no DNS message."""


class Query(Struct, frozen=True):
    """One question, and what its asker can take."""

    message_id: int
    flags: int
    name: Name
    kind: int
    section: bytes  # the question as it was asked, to be echoed
    has_edns: bool = False
    edns_version: int = 0
    wants_dnssec: bool = False
    udp_limit_bytes: int = UDP_LIMIT_BYTES
    class_: int = INTERNET

    @property
    def opcode(self) -> int:
        """0 for a standard query."""
        return (self.flags & OPCODE_MASK) >> 11


class Record(Struct, frozen=True):
    """One fact about a name; `data` is as on the wire, without compression."""

    name: Name
    kind: int
    data: bytes
    ttl: int


def parse_name(text: str) -> Name:
    """Return the labels of a name in its usual notation."""
    return tuple(label.encode().lower() for label in text.strip(".").split(".") if label)


def encode_name(name: Name) -> bytes:
    """Return a name without compression."""
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


def is_encodable(name: Name) -> bool:
    """Tell whether a name fits into a message."""
    length = sum(len(label) + 1 for label in name)
    return length < NAME_LIMIT_BYTES and all(0 < len(label) < 64 for label in name)


def read_name(data: bytes, offset: int) -> tuple[Name, int]:
    """Return the name at `offset` in lower case and the offset after it; raises Malformed."""
    labels: list[bytes] = []
    end = 0
    length = 0
    floor = offset  # pointers must lead to before all that was read, so none can be met twice
    while True:
        if offset >= len(data):
            raise Malformed("a name ends early")
        size = data[offset]
        if size >= 0xC0:
            if offset + 2 > len(data):
                raise Malformed("a name ends early")
            target = (size & 0x3F) << 8 | data[offset + 1]
            if target >= floor:
                raise Malformed("a name points forward")
            end = end or offset + 2
            offset = floor = target
            continue
        if size > 63:
            raise Malformed("a label of an unknown kind")
        if not size:
            return tuple(labels), end or offset + 1
        label = data[offset + 1 : offset + 1 + size]
        length += size + 1
        if len(label) < size or length >= NAME_LIMIT_BYTES:
            raise Malformed("a name is too long")
        labels.append(label.lower())
        offset += size + 1


def parse_query(data: bytes) -> Query:
    """Read a question; raises Malformed."""
    if len(data) < HEADER.size:
        raise Malformed("no header")
    message_id, flags, questions, answers, authorities, additionals = HEADER.unpack_from(data)
    if flags & IS_RESPONSE or questions != 1 or answers or authorities:
        raise Malformed("not one question")
    name, offset = read_name(data, HEADER.size)
    if offset + TYPE_CLASS.size > len(data):
        raise Malformed("a question ends early")
    kind, class_ = TYPE_CLASS.unpack_from(data, offset)
    offset += TYPE_CLASS.size
    query = Query(message_id, flags, name, kind, data[HEADER.size : offset], class_=class_)
    return _with_edns(query, data, offset) if additionals else query


def _with_edns(query: Query, data: bytes, offset: int) -> Query:
    """Add what the OPT record, which must be the first additional, says."""
    owner, offset = read_name(data, offset)
    if offset + RECORD.size > len(data):
        raise Malformed("a record ends early")
    kind, size, extended, _ = RECORD.unpack_from(data, offset)
    if kind != OPT or owner:
        return query  # a signature or the like, which nothing here understands
    return Query(
        query.message_id,
        query.flags,
        query.name,
        query.kind,
        query.section,
        has_edns=True,
        edns_version=(extended >> 16) & 0xFF,
        wants_dnssec=bool(extended & DNSSEC_OK),
        udp_limit_bytes=min(max(size, UDP_LIMIT_BYTES), OWN_UDP_LIMIT_BYTES),
        class_=query.class_,
    )


def build_response(
    query: Query,
    code: int = NO_ERROR,
    answers: Sequence[Record] = (),
    authorities: Sequence[Record] = (),
    additionals: Sequence[Record] = (),
    *,
    limit_bytes: int,
    is_authoritative: bool = False,
) -> bytes:
    """Write an answer; one past `limit_bytes` loses its additionals, then all but the question, and says so."""
    flags = IS_RESPONSE | RECURSION_AVAILABLE | (code & 0xF)
    flags |= query.flags & (OPCODE_MASK | RECURSION_DESIRED | CHECKING_DISABLED)
    flags |= AUTHORITATIVE if is_authoritative else 0
    options = b""
    if query.has_edns:
        options = b"\0" + RECORD.pack(OPT, OWN_UDP_LIMIT_BYTES, (code >> 4) << 24, 0)
    needed = _encode_records(query, (*answers, *authorities))
    extra = _encode_records(query, additionals)
    counts = [len(answers), len(authorities), len(additionals)]
    head = HEADER.size + len(query.section) + len(options)
    if head + len(needed) + len(extra) > limit_bytes:
        extra, counts[2] = b"", 0
    if head + len(needed) > limit_bytes:
        needed, counts, flags = b"", [0, 0, 0], flags | TRUNCATED
    counts[2] += 1 if options else 0
    return (
        HEADER.pack(query.message_id, flags, 1, *counts) + query.section + needed + extra + options
    )


def build_error(data: bytes, code: int) -> bytes | None:
    """Return an error for a message that could not be read; None when even its header is missing."""
    if len(data) < HEADER.size or data[2] & 0x80:
        return None
    message_id, flags = TYPE_CLASS.unpack_from(data)
    flags = IS_RESPONSE | RECURSION_AVAILABLE | flags & (OPCODE_MASK | RECURSION_DESIRED) | code
    return HEADER.pack(message_id, flags, 0, 0, 0, 0)


def _encode_records(query: Query, records: Sequence[Record]) -> bytes:
    parts = []
    for record in records:
        # 0xC00C points at the question's name, which most records are about
        parts.append(b"\xc0\x0c" if record.name == query.name else encode_name(record.name))
        parts.append(RECORD.pack(record.kind, INTERNET, record.ttl, len(record.data)))
        parts.append(record.data)
    return b"".join(parts)


class Response(Struct, frozen=True):
    """What of somebody else's answer matters for passing it on."""

    message_id: int
    code: int
    is_truncated: bool
    question: tuple[Name, int]
    answers: tuple[Record, ...]
    ttl_offsets: tuple[int, ...]  # where the times to live stand, so that a kept answer can age
    ttl: int  # seconds for which the answer may be kept; 0: not at all


def parse_response(data: bytes) -> Response:
    """Read an answer; raises Malformed. Names inside SRV, CNAME and PTR data are written out in full."""
    if len(data) < HEADER.size:
        raise Malformed("no header")
    message_id, flags, questions, answers, authorities, additionals = HEADER.unpack_from(data)
    if not flags & IS_RESPONSE or questions != 1:
        raise Malformed("not an answer to one question")
    name, offset = read_name(data, HEADER.size)
    if offset + TYPE_CLASS.size > len(data):
        raise Malformed("a question ends early")
    kind, _ = TYPE_CLASS.unpack_from(data, offset)
    offset += TYPE_CLASS.size
    records: list[Record] = []
    ttls: list[int] = []
    offsets: list[int] = []
    for number in range(answers + authorities + additionals):
        record, at, offset = _read_record(data, offset)
        if record.kind == OPT:
            continue
        offsets.append(at)
        if number < answers:
            records.append(record)
        if number < answers + authorities:
            ttls.append(record.ttl)
            if record.kind == SOA and not answers:  # RFC 2308: how long a "no" may be kept
                ttls.append(int.from_bytes(record.data[-4:], "big"))
    code = flags & 0xF
    keeps = code in (NO_ERROR, NAME_ERROR) and not flags & TRUNCATED
    return Response(
        message_id,
        code,
        bool(flags & TRUNCATED),
        (name, kind),
        tuple(records),
        tuple(offsets),
        min(ttls, default=0) if keeps else 0,
    )


def _read_record(data: bytes, offset: int) -> tuple[Record, int, int]:
    """Return a record, where its time to live stands, and the offset after it."""
    name, offset = read_name(data, offset)
    if offset + RECORD.size > len(data):
        raise Malformed("a record ends early")
    kind, _, ttl, length = RECORD.unpack_from(data, offset)
    start = offset + RECORD.size
    end = start + length
    if end > len(data):
        raise Malformed("a record ends early")
    value = data[start:end]
    if kind in (CNAME, PTR, NS):
        value = encode_name(read_name(data, start)[0])
    elif kind == SRV and length > 6:
        value = data[start : start + 6] + encode_name(read_name(data, start + 6)[0])
    return Record(name, kind, value, ttl & 0x7FFFFFFF), offset + 4, end


def age(data: bytes, ttl_offsets: Sequence[int], seconds: int) -> bytes:
    """Return a kept answer whose times to live are `seconds` shorter."""
    aged = bytearray(data)
    for offset in ttl_offsets:
        ttl = int.from_bytes(aged[offset : offset + 4], "big")
        aged[offset : offset + 4] = max(0, ttl - seconds).to_bytes(4, "big")
    return bytes(aged)
