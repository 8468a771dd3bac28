"""Header compression of HTTP/2 (RFC 7541): a complete decoder, and an encoder of literals.

The decoder keeps the dynamic table that the peer builds, so the headers of later calls cost a byte each. Header values
are Latin-1 here, as bytes beyond ASCII have no meaning in them.
"""

from collections import deque
from functools import cache
from typing import Final

from kubelite.limits import GRPC_HEADERS

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
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171818"
    "161718171717171516171617171816151416161717151716161815161717151516151716171714161616171616171616"
    "171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b141814151616151717161619191818"
    "1a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
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

    def __init__(self) -> None:
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
            if total > GRPC_HEADERS.value:
                GRPC_HEADERS.reached()
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


@cache
def _codes() -> dict[tuple[int, int], int]:
    """Return the byte, or EOS, of each pair of code length and code."""
    codes: dict[tuple[int, int], int] = {}
    code = last = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_CODE_LENGTHS)):
        code <<= length - last
        codes[length, code] = symbol
        code += 1
        last = length
    return codes


def _huffman(data: bytes) -> str:
    """Decode a string. Raises MalformedHeaders for EOS inside it and for padding other than up to 7 ones."""
    codes = _codes()
    out = bytearray()
    code = length = 0
    for byte in data:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            length += 1
            symbol = codes.get((length, code))
            if symbol is not None:
                if symbol == EOS:
                    raise MalformedHeaders("a string contains its own end")
                out.append(symbol)
                code = length = 0
    if length > 7 or code != (1 << length) - 1:
        raise MalformedHeaders("a string is not padded as it must be")
    return out.decode("latin-1")
