"""Header compression of HTTP/2 (RFC 7541): a complete decoder, and an encoder of literals.

The decoder keeps the dynamic table that the peer builds, so the headers of later calls cost a byte each. Header values
are Latin-1 here, as bytes beyond ASCII have no meaning in them.
"""

from collections import deque
from functools import cache
from typing import Final

from kubelite.limits import GRPC_HEADERS, Limit

TABLE_BYTES: Final = 4096  # the dynamic table's size before any settings
ENTRY_BYTES: Final = 32  # what an entry counts beyond its name and value, RFC 7541 section 4.1
EOS: Final = 256

# RFC 7541 appendix A: name and value, `|` between entries.
_STATIC_TEXT = (
    ":authority=|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|"
    ":status=200|:status=204|:status=206|:status=304|:status=400|:status=404|:status=500|"
    "accept-charset=|accept-encoding=gzip, deflate|accept-language=|accept-ranges=|accept=|"
    "access-control-allow-origin=|age=|allow=|authorization=|cache-control=|content-disposition=|"
    "content-encoding=|content-language=|content-length=|content-location=|content-range=|"
    "content-type=|cookie=|date=|etag=|expect=|expires=|from=|host=|if-match=|if-modified-since=|"
    "if-none-match=|if-range=|if-unmodified-since=|last-modified=|link=|location=|max-forwards=|"
    "proxy-authenticate=|proxy-authorization=|range=|referer=|refresh=|retry-after=|server=|"
    "set-cookie=|strict-transport-security=|transfer-encoding=|user-agent=|vary=|via=|"
    "www-authenticate="
)
# RFC 7541 appendix B: the code length of each byte and of EOS. The code is canonical, so the lengths define it.
_CODE_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08060606"
    "0505050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817"
    "181816171817171717151617161717181615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)

Header = tuple[str, str]
_STATIC: Final[tuple[Header, ...]] = tuple(
    (name, value) for name, _, value in (entry.rpartition("=") for entry in _STATIC_TEXT.split("|"))
)


class MalformedHeaders(ValueError):
    """A header block does not decode; the connection's table is then unknown, so the connection must end."""


class HeadersTooLarge(MalformedHeaders):
    """A header block decodes to more than `limits.GRPC_HEADERS`."""


class HeaderDecoder:
    """Decodes the header blocks of one direction of a connection, in order."""

    def __init__(self, limit: Limit = GRPC_HEADERS) -> None:
        """`limit` bounds what a block decodes to, in bytes as RFC 9113 counts them."""
        self._limit = limit
        self._dynamic: deque[Header] = deque()  # newest first
        self._size = 0
        self._maximum = TABLE_BYTES

    def decode(self, block: bytes) -> list[Header]:
        """Return names and values. Raises MalformedHeaders."""
        try:
            return self._decode(block)
        except IndexError as error:
            raise MalformedHeaders("a header block is cut off") from error

    def _decode(self, block: bytes) -> list[Header]:
        headers: list[Header] = []
        position = total = 0
        while position < len(block):
            first = block[position]
            if first & 0x80:
                index, position = _integer(block, position, 7)
                header = self._entry(index)
            elif first & 0xE0 == 0x20:
                size, position = _integer(block, position, 5)
                if size > TABLE_BYTES or headers:
                    raise MalformedHeaders("the table's size changes where or to what it may not")
                self._maximum = size
                self._evict(0)
                continue
            else:
                is_indexed = bool(first & 0x40)
                header, position = self._literal(block, position, 6 if is_indexed else 4)
                if is_indexed:
                    self._insert(header)
            total += len(header[0]) + len(header[1]) + ENTRY_BYTES
            if total > self._limit.value:
                self._limit.reached()
                raise HeadersTooLarge("the headers are too large")
            headers.append(header)
        return headers

    def _literal(self, block: bytes, position: int, prefix: int) -> tuple[Header, int]:
        index, position = _integer(block, position, prefix)
        if index:
            name = self._entry(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        return (name, value), position

    def _entry(self, index: int) -> Header:
        if not index or index > len(_STATIC) + len(self._dynamic):
            raise MalformedHeaders("a header's index is not in the table")
        if index <= len(_STATIC):
            return _STATIC[index - 1]
        return self._dynamic[index - len(_STATIC) - 1]

    def _insert(self, header: Header) -> None:
        size = len(header[0]) + len(header[1]) + ENTRY_BYTES
        self._evict(size)
        if size <= self._maximum:
            self._dynamic.appendleft(header)
            self._size += size

    def _evict(self, room: int) -> None:
        while self._dynamic and self._size + room > self._maximum:
            name, value = self._dynamic.pop()
            self._size -= len(name) + len(value) + ENTRY_BYTES


def static_indices() -> dict[str, int]:
    """Return the first index of each name in the static table."""
    found: dict[str, int] = {}
    for index, (name, _) in enumerate(_STATIC, 1):
        found.setdefault(name, index)
    return found


def encode_literal(name: str, value: bytes, index: int = 0) -> bytes:
    """Encode a field that no table takes up; `index` is that of its name in the static table, if it has one."""
    block = bytearray((0,))
    if index:
        block.clear()
        _put_integer(block, index, 4)
    else:
        data = name.encode("latin-1")
        _put_integer(block, len(data), 7)
        block += data
    _put_integer(block, len(value), 7)
    return bytes(block + value)


def encode_headers(headers: list[Header]) -> bytes:
    """Encode headers as literals that no table takes up."""
    block = bytearray()
    for name, value in headers:
        block.append(0)
        for text in (name, value):
            data = text.encode("latin-1")
            _put_integer(block, len(data), 7)
            block += data
    return bytes(block)


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """Read an integer with a prefix of some bits, RFC 7541 section 5.1. Raises IndexError if it is cut off."""
    mask = (1 << prefix) - 1
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    for shift in range(0, 28, 7):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise MalformedHeaders("an integer is too long")


def _put_integer(block: bytearray, value: int, prefix: int) -> None:
    mask = (1 << prefix) - 1
    if value < mask:
        block.append(value)
        return
    block.append(mask)
    value -= mask
    while value > 0x7F:
        block.append(value & 0x7F | 0x80)
        value >>= 7
    block.append(value)


def _string(block: bytes, position: int) -> tuple[str, int]:
    is_huffman = bool(block[position] & 0x80)
    length, position = _integer(block, position, 7)
    data = block[position : position + length]
    if len(data) < length:
        raise MalformedHeaders("a string is longer than its header block")
    text = _huffman(data) if is_huffman else data.decode("latin-1")
    return text, position + length


_Step = tuple[int, bytes]  # the node that a byte leads to, and what it completes; -1: EOS


@cache
def _tree() -> list[list[int]]:
    """Return the code as a tree: of each node what a 0 and a 1 lead to; below zero a leaf, ~symbol."""
    nodes: list[list[int]] = [[0, 0]]
    code = last = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_CODE_LENGTHS)):
        code <<= length - last
        node = 0
        for shift in range(length - 1, 0, -1):
            bit = code >> shift & 1
            if not nodes[node][bit]:
                nodes.append([0, 0])
                nodes[node][bit] = len(nodes) - 1
            node = nodes[node][bit]
        nodes[node][code & 1] = ~symbol
        code += 1
        last = length
    return nodes


@cache
def _final() -> frozenset[int]:
    """Return the nodes at which a string may end: padding is up to 7 ones, the begin of EOS."""
    nodes, node, found = _tree(), 0, {0}
    for _ in range(7):
        node = nodes[node][1]
        found.add(node)
    return frozenset(found)


_steps: dict[int, _Step] = {}  # by node << 8 | byte, as they were met: 65,536 at most


def _step(key: int) -> _Step:
    """Walk the eight bits of a byte from a node."""
    nodes, node, byte = _tree(), key >> 8, key & 0xFF
    out = bytearray()
    for shift in range(7, -1, -1):
        node = nodes[node][byte >> shift & 1]
        if node < 0:
            if ~node == EOS:
                node = -1
                break
            out.append(~node)
            node = 0
    step = _steps[key] = node, bytes(out)
    return step


def _huffman(data: bytes) -> str:
    """Decode a string. Raises MalformedHeaders for EOS inside it and for padding other than up to 7 ones."""
    known, node, parts = _steps, 0, []
    for byte in data:
        key = node << 8 | byte
        node, part = known.get(key) or _step(key)
        if node < 0:
            raise MalformedHeaders("a string contains its own end")
        parts.append(part)
    if node not in _final():
        raise MalformedHeaders("a string is not padded as it must be")
    return b"".join(parts).decode("latin-1")
