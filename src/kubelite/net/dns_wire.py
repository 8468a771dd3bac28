"""DNS messages: questions read, answers written, as RFC 1035, 2782 and 6891 lay them out.

What comes from outside is bounded: a compression pointer must point backwards, a name has 255 bytes, a question is one,
and reading a message costs no more than its length: what pointers lead to is read once, however many they are.
"""

import struct
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

A, NS, CNAME, SOA, PTR, HINFO, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 13, 16, 28, 33, 41, 255
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
POINTERS_LIMIT = 126  # in a row: more than the labels of a name can need
STEPS_LIMIT = 20_000  # labels and pointers of a message's names: as many as 64 KiB of records hold

Name = tuple[bytes, ...]  # labels in lower case, the root left out


class Malformed(Exception):
    """Bytes that are no DNS message."""


class Query(Struct, frozen=True):
    """One question, and what its asker can take."""

    message_id: int
    flags: int
    name: Name
    record_type: int
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


class ResourceRecord(Struct, frozen=True):
    """One fact about a name; `data` is as on the wire, without compression."""

    name: Name
    record_type: int
    data: bytes
    ttl: int


def parse_name(text: str) -> Name:
    """Return the labels of a name in its usual notation."""
    return tuple(label.encode().lower() for label in text.strip(".").split(".") if label)


def encode_name(name: Name) -> bytes:
    """Return a name without compression."""
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


def is_encodable(name: Name) -> bool:
    """Return whether a name can be encoded: its labels and its whole length."""
    length = sum(len(label) + 1 for label in name)
    return length < NAME_LIMIT_BYTES and all(0 < len(label) < 64 for label in name)


class NameReader:
    """Reads the names of one message; each label and each pointer is looked at once."""

    def __init__(self, data: bytes) -> None:
        self.steps = 0  # labels and pointers looked at
        self._data = data
        # By offset: the name in lower case, the same as it is written without compression, the offset after it.
        self._known: dict[int, tuple[Name, bytes, int]] = {}

    def read(self, offset: int) -> tuple[Name, bytes, int]:
        """Return the name at `offset` in lower case, also as bytes without compression, and the offset after it.

        Raises Malformed.
        """
        runs: list[
            tuple[int, Name, bytes, int]
        ] = []  # offset, labels, their bytes, and the offset after them
        name: Name = ()
        written = b"\0"
        at = offset
        while True:
            known = self._known.get(at)
            if known is not None:
                name, written, _ = known
                break
            labels, target, end = self._run(at)
            runs.append(
                (at, labels, self._data[at : end - (1 if target is None else 2)].lower(), end)
            )
            if target is None:
                break
            if target >= at:
                raise Malformed("a name points forward")
            if len(runs) > POINTERS_LIMIT:
                raise Malformed("a name has too many pointers")
            at = target
        for at, labels, run, end in reversed(runs):
            name, written = labels + name, run + written
            if len(written) > NAME_LIMIT_BYTES:
                raise Malformed("a name is too long")
            self._known[at] = name, written, end
        return self._known[offset]

    def _run(self, offset: int) -> tuple[Name, int | None, int]:
        """Return the labels up to the root or a pointer, where that leads to (None: the root), the offset after it."""
        data, start = self._data, offset
        labels: list[bytes] = []
        while True:
            self.steps += 1
            if self.steps > STEPS_LIMIT:
                raise Malformed("a message has too many names")
            if offset >= len(data):
                raise Malformed("a name ends early")
            size = data[offset]
            if not size:
                return tuple(labels), None, offset + 1
            if size >= 0xC0:
                if offset + 2 > len(data):
                    raise Malformed("a name ends early")
                return tuple(labels), (size & 0x3F) << 8 | data[offset + 1], offset + 2
            if size > 63:
                raise Malformed("a label of an unknown kind")
            label = data[offset + 1 : offset + 1 + size]
            offset += size + 1
            if len(label) < size or offset - start >= NAME_LIMIT_BYTES:
                raise Malformed("a name is too long")
            labels.append(label.lower())


def read_name(data: bytes, offset: int) -> tuple[Name, int]:
    """Return the name at `offset` in lower case and the offset after it; raises Malformed."""
    name, _, end = NameReader(data).read(offset)
    return name, end


def skip_name(data: bytes, offset: int) -> int:
    """Return the offset after the name at `offset`, without following its pointer; raises Malformed."""
    length = len(data)
    while offset < length:
        size = data[offset]
        if size >= 0xC0:
            offset += 2
            break
        offset += size + 1
        if not size:
            break
    else:
        raise Malformed("a name ends early")
    return offset


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
    record_type, class_ = TYPE_CLASS.unpack_from(data, offset)
    offset += TYPE_CLASS.size
    query = Query(message_id, flags, name, record_type, data[HEADER.size : offset], class_=class_)
    return _with_edns(query, data, offset) if additionals else query


def _with_edns(query: Query, data: bytes, offset: int) -> Query:
    """Apply the OPT record (EDNS), which must be the first additional."""
    owner, offset = read_name(data, offset)
    if offset + RECORD.size > len(data):
        raise Malformed("a record ends early")
    record_type, size, extended, _ = RECORD.unpack_from(data, offset)
    if record_type != OPT or owner:
        return query  # another record, such as a signature, which is not supported
    return Query(
        query.message_id,
        query.flags,
        query.name,
        query.record_type,
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
    answers: Sequence[ResourceRecord] = (),
    authorities: Sequence[ResourceRecord] = (),
    additionals: Sequence[ResourceRecord] = (),
    *,
    limit_bytes: int,
    is_authoritative: bool = False,
) -> bytes:
    """Encode a response of at most `limit_bytes`.

    Additionals that do not all fit are dropped together. Of answers and authorities as many records as fit are kept,
    in order, and the TC bit says that some are missing (RFC 2181, section 9): a client that does not ask again by TCP
    can use what it got.
    """
    flags = IS_RESPONSE | RECURSION_AVAILABLE | (code & 0xF)
    flags |= query.flags & (OPCODE_MASK | RECURSION_DESIRED | CHECKING_DISABLED)
    flags |= AUTHORITATIVE if is_authoritative else 0
    options = _options(query, code)
    needed = _encode_records(query, (*answers, *authorities))
    extra = _encode_records(query, additionals)
    room = limit_bytes - HEADER.size - len(query.section) - len(options)
    kept = _count_fitting(needed, room)
    if kept < len(needed):
        needed, flags = needed[:kept], flags | TRUNCATED
    if sum(map(len, needed)) + sum(map(len, extra)) > room or flags & TRUNCATED:
        extra = []
    counts = (min(kept, len(answers)), max(kept - len(answers), 0), len(extra) + bool(options))
    head = HEADER.pack(query.message_id, flags, 1, *counts)
    return b"".join((head, query.section, *needed, *extra, options))


def truncate(query: Query, data: bytes, limit_bytes: int) -> bytes:
    """Return another server's response with as many of its answers as fit into `limit_bytes`, and the TC bit.

    A compression pointer leads backwards, so what stands before a cut stays readable. Raises Malformed.
    """
    message_id, flags, _, answers, _, _ = HEADER.unpack_from(data)
    options = _options(query)
    end = skip_name(data, HEADER.size) + TYPE_CLASS.size
    kept = 0
    for _ in range(answers):
        following = _skip_record(data, end)[-1]
        if following + len(options) > limit_bytes:
            break
        kept, end = kept + 1, following
    head = HEADER.pack(message_id, flags | TRUNCATED, 1, kept, 0, bool(options))
    return head + data[HEADER.size : end] + options


def _options(query: Query, code: int = NO_ERROR) -> bytes:
    """Return the OPT record of a response; empty to a query without one (RFC 6891)."""
    if not query.has_edns:
        return b""
    return b"\0" + RECORD.pack(OPT, OWN_UDP_LIMIT_BYTES, (code >> 4) << 24, 0)


def _count_fitting(records: Sequence[bytes], room_bytes: int) -> int:
    """Return how many of the records fit, from the first on."""
    for count, record in enumerate(records):
        room_bytes -= len(record)
        if room_bytes < 0:
            return count
    return len(records)


def build_error(data: bytes, code: int) -> bytes | None:
    """Return an error for a message that could not be read; None when even its header is missing."""
    if len(data) < HEADER.size or data[2] & 0x80:
        return None
    message_id, flags = TYPE_CLASS.unpack_from(data)
    flags = IS_RESPONSE | RECURSION_AVAILABLE | flags & (OPCODE_MASK | RECURSION_DESIRED) | code
    return HEADER.pack(message_id, flags, 0, 0, 0, 0)


def _encode_records(query: Query, records: Sequence[ResourceRecord]) -> list[bytes]:
    encoded = []
    for record in records:
        # 0xC00C points at the question's name, which most records are about
        name = b"\xc0\x0c" if record.name == query.name else encode_name(record.name)
        fixed = RECORD.pack(record.record_type, INTERNET, record.ttl, len(record.data))
        encoded.append(name + fixed + record.data)
    return encoded


class Response(Struct, frozen=True):
    """The parts of an upstream answer that forwarding and caching need."""

    message_id: int
    code: int
    is_truncated: bool
    question: tuple[Name, int]
    ttl_offsets: tuple[
        int, ...
    ]  # offsets of the times to live, which shrink while the answer is cached
    ttl: int  # seconds for which the answer may be cached; 0: not at all
    data: bytes
    answers_at: int  # the offset of the first record
    answers_count: int

    @property
    def answers(self) -> tuple[ResourceRecord, ...]:
        """The records of the answer, with the names in SRV, CNAME, NS and PTR data written out; raises Malformed."""
        names, offset = NameReader(self.data), self.answers_at
        records = []
        for _ in range(self.answers_count):
            record, offset = _read_record(names, self.data, offset)
            if record.record_type != OPT:
                records.append(record)
        return tuple(records)


def parse_response(data: bytes) -> Response:
    """Read what an answer says of itself, and where its records are; raises Malformed."""
    if len(data) < HEADER.size:
        raise Malformed("no header")
    message_id, flags, questions, answers, authorities, additionals = HEADER.unpack_from(data)
    if not flags & IS_RESPONSE or questions != 1:
        raise Malformed("not an answer to one question")
    name, offset = read_name(data, HEADER.size)
    if offset + TYPE_CLASS.size > len(data):
        raise Malformed("a question ends early")
    record_type, _ = TYPE_CLASS.unpack_from(data, offset)
    offset += TYPE_CLASS.size
    first = offset
    ttls: list[int] = []
    offsets: list[int] = []
    for number in range(answers + authorities + additionals):
        found_type, ttl, at, offset = _skip_record(data, offset)
        if found_type == OPT:
            continue
        offsets.append(at)
        if number < answers + authorities:
            ttls.append(ttl)
            if (
                found_type == SOA and not answers
            ):  # RFC 2308: how long a negative answer may be cached
                ttls.append(int.from_bytes(data[max(at + 6, offset - 4) : offset], "big"))
    code = flags & 0xF
    keeps = code in (NO_ERROR, NAME_ERROR) and not flags & TRUNCATED
    return Response(
        message_id,
        code,
        bool(flags & TRUNCATED),
        (name, record_type),
        tuple(offsets),
        min(ttls, default=0) if keeps else 0,
        data,
        first,
        answers,
    )


def _skip_record(data: bytes, offset: int) -> tuple[int, int, int, int]:
    """Return a record's type and time to live, where that stands, and the offset after the record."""
    offset = skip_name(data, offset)
    if offset + RECORD.size > len(data):
        raise Malformed("a record ends early")
    record_type, _, ttl, length = RECORD.unpack_from(data, offset)
    end = offset + RECORD.size + length
    if end > len(data):
        raise Malformed("a record ends early")
    return record_type, ttl & 0x7FFFFFFF, offset + 4, end


def _read_record(names: NameReader, data: bytes, offset: int) -> tuple[ResourceRecord, int]:
    """Return a record and the offset after it."""
    name, _, _ = names.read(offset)
    record_type, ttl, at, end = _skip_record(data, offset)
    start = at + RECORD.size - 4
    value = data[start:end]
    if record_type in (CNAME, PTR, NS):
        value = names.read(start)[1]
    elif record_type == SRV and end - start > 6:
        value = data[start : start + 6] + names.read(start + 6)[1]
    return ResourceRecord(name, record_type, value, ttl), end


def age(data: bytes, ttl_offsets: Sequence[int], seconds: int) -> bytes:
    """Return a cached answer with its times to live shortened by `seconds`."""
    aged = bytearray(data)
    for offset in ttl_offsets:
        ttl = int.from_bytes(aged[offset : offset + 4], "big")
        aged[offset : offset + 4] = max(0, ttl - seconds).to_bytes(4, "big")
    return bytes(aged)
