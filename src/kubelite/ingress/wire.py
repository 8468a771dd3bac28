"""HTTP/1.1 heads and bodies as a proxy has to read them: strictly, so that both of its sides see the same messages.

What RFC 9112 lets a recipient repair is refused here: two lengths, a length beside chunks, a folded line, a space
before a colon, a bare LF, a chunk size with a sign. Each of these is a way to smuggle a request past the routes.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

HEAD_END = b"\r\n\r\n"
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
_FIELDS = rb"((?:" + TOKEN + rb":" + VALUE + rb"\r\n)*+)\r\n"
REQUEST = re.compile(rb"(" + TOKEN + rb") ([!-~]++) HTTP/1\.([01])\r\n" + _FIELDS)
RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (" + VALUE + rb"))?\r\n" + _FIELDS)
TRAILERS = re.compile(_FIELDS)
LENGTH = re.compile(rb"[0-9]{1,18}")
HOST = re.compile(rb"([0-9A-Za-z._\-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
CHUNK_LINE_BYTES_MAX = 512
TRAILERS_BYTES_MAX = 8192
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")

# Fields of one connection (RFC 9110, section 7.6.1), and those by which a message is delimited.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# Never in trailers: they would change what was decided by the head.
NOT_IN_TRAILERS = HOP_BY_HOP | {
    b"content-length",
    b"host",
    b"authorization",
    b"cookie",
    b"set-cookie",
}

Field = tuple[bytes, bytes]  # name as sent and value without the space around it


class Malformed(Exception):
    """A message that is not to be passed on; `str()` says why."""


class Request(Struct):
    """The head of a request."""

    method: bytes
    target: bytes  # as sent, but in origin form and normalized
    host: bytes  # in lower case, without the port
    authority: bytes  # the Host to pass on
    is_http_11: bool
    fields: list[Field]  # without those of the connection, Host, and what a proxy sets itself
    length: int = 0  # of the body; -1: chunked
    keeps_open: bool = True
    expects_continue: bool = False
    upgrade: bytes = b""
    path: bytes = b"/"  # of the target, without the query


class Response(Struct):
    """The head of a response."""

    status: int
    reason: bytes
    is_http_11: bool
    fields: list[Field]  # without those of the connection, but with Content-Length
    length: int | None = None  # of the body; -1: chunked; None: until the connection ends
    keeps_open: bool = True
    upgrade: bytes = b""
    is_empty: bool = False  # it has no body and no length, as its connection delimits bodies


def parse_request(head: bytes) -> Request:
    """Return the request of a head with its final empty line. Raises Malformed."""
    match = REQUEST.fullmatch(head)
    if match is None:
        raise Malformed("not a request of HTTP/1.1")
    method, target, minor, lines = match.groups()
    sorted_ = _Sorted(lines, REQUEST_FIELDS)
    is_http_11 = minor == b"1"
    names = _tokens(sorted_.tokens)
    authority = _authority(sorted_.hosts, target, is_http_11=is_http_11)
    target, path = normal_form(target)
    if sorted_.expectation not in (b"", b"100-continue"):
        raise Malformed("unknown expectation")
    request = Request(
        method,
        target,
        host_of(authority),
        authority,
        is_http_11,
        _without(sorted_.kept, names),
        _body_length(sorted_.lengths, sorted_.codings, is_http_11=is_http_11) or 0,
        b"close" not in names and (is_http_11 or b"keep-alive" in names),
        bool(sorted_.expectation) and is_http_11,
        path=path,
    )
    upgrade = sorted_.upgrade
    # h2c would turn the connection into one whose requests pass unseen.
    if (
        upgrade
        and is_http_11
        and b"upgrade" in names
        and b"h2c" not in upgrade.lower()
        and not request.length
    ):
        request.upgrade = upgrade
    return request


def parse_response(head: bytes, method: bytes) -> Response:
    """Return the response to `method` of a head with its final empty line. Raises Malformed."""
    match = RESPONSE.fullmatch(head)
    if match is None:
        raise Malformed("not a response of HTTP/1.1")
    minor, status, reason, lines = match.groups()
    sorted_ = _Sorted(lines, RESPONSE_FIELDS)
    kept = sorted_.kept
    is_http_11 = minor == b"1"
    code = int(status)
    length = _body_length(sorted_.lengths, sorted_.codings, is_http_11=is_http_11)
    if method == b"HEAD" or code < 200 or code in (204, 304):
        length = 0
    if sorted_.lengths and code >= 200 and code != 204:
        kept.append((b"Content-Length", sorted_.lengths[0]))
    names = _tokens(sorted_.tokens)
    return Response(
        code,
        reason or b"",
        is_http_11,
        _without(kept, names),
        length,
        length is not None and b"close" not in names and (is_http_11 or b"keep-alive" in names),
        sorted_.upgrade,
    )


class _Sorted:
    """The fields of a head by what they are for."""

    __slots__ = ("codings", "expectation", "hosts", "kept", "lengths", "tokens", "upgrade")

    def __init__(self, lines: bytes, kinds: dict[bytes, str]) -> None:
        kept = self.kept = list[Field]()
        self.hosts: list[bytes] = []
        self.lengths: list[bytes] = []
        self.codings: list[bytes] = []
        self.tokens = self.upgrade = self.expectation = b""
        for field in fields_of(lines):
            name = field[0].lower()
            kind = kinds.get(name)
            if kind is not None:
                self._take(kind, field[1])
            elif b"_" in name and name.replace(b"_", b"-") in kinds:
                continue  # programs behind CGI and WSGI cannot tell the two names apart
            else:
                kept.append(field)

    def _take(self, kind: str, value: bytes) -> None:
        if kind == "host":
            self.hosts.append(value)
        elif kind == "length":
            self.lengths.append(value)
        elif kind == "coding":
            self.codings.append(value)
        elif kind == "connection":
            self.tokens += b"," + value.lower()
        elif kind == "upgrade":
            self.upgrade = value
        elif kind == "expect":
            self.expectation = value.lower()


def fields_of(lines: bytes) -> list[Field]:
    """Return the fields of lines whose form was checked, each with its CRLF."""
    fields = []
    for line in lines.split(b"\r\n"):
        if line:
            name, _, value = line.partition(b":")
            fields.append((name, value.strip(b" \t")))
    return fields


def _tokens(text: bytes) -> frozenset[bytes] | set[bytes]:
    if not text:
        return _NO_TOKENS
    return {token for part in text.split(b",") if (token := part.strip())}


_NO_TOKENS: frozenset[bytes] = frozenset()


def _without(fields: list[Field], names: frozenset[bytes] | set[bytes]) -> list[Field]:
    """Return the fields without those that Connection names; the ordinary tokens are no fields."""
    named = names - _ORDINARY_TOKENS
    return [field for field in fields if field[0].lower() not in named] if named else fields


_ORDINARY_TOKENS = frozenset((b"close", b"keep-alive", b"upgrade", b"te"))


def _body_length(lengths: list[bytes], codings: list[bytes], *, is_http_11: bool) -> int | None:
    """Return the length of a body, -1 for chunks, None if nothing says it. Raises Malformed."""
    if codings:
        if lengths or not is_http_11:
            raise Malformed("Transfer-Encoding beside Content-Length or in HTTP/1.0")
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise Malformed("unknown transfer coding")
        return -1
    if not lengths:
        return None
    if len(lengths) != 1 or not LENGTH.fullmatch(lengths[0]):
        raise Malformed("invalid Content-Length")
    return int(lengths[0])


def _authority(hosts: list[bytes], target: bytes, *, is_http_11: bool) -> bytes:
    if len(hosts) > 1 or (is_http_11 and not hosts):
        raise Malformed("there must be one Host")
    if target.startswith((b"http://", b"https://")):
        return target.split(b"/", 3)[2]
    return hosts[0] if hosts else b""


def host_of(authority: bytes) -> bytes:
    """Return the host of an authority in lower case. Raises Malformed."""
    if not authority:
        return b""
    match = HOST.fullmatch(authority)
    if match is None:
        raise Malformed("invalid Host")
    return match[1].lower().rstrip(b".")


def _origin_form(target: bytes) -> bytes:
    """Return path and query of a target. Raises Malformed for a form that no route can have."""
    if target.startswith((b"http://", b"https://")):
        rest = target.split(b"/", 3)
        target = b"/" + rest[3] if len(rest) > 3 else b"/"
    if not target.startswith(b"/") or b"#" in target:
        raise Malformed("invalid target")
    return target


def normal_form(target: bytes) -> tuple[bytes, bytes]:
    """Return a target in origin form with a normal path, and that path. Raises Malformed."""
    target = _origin_form(target)
    path, question, query = target.partition(b"?")
    if b"%" in path or b"/." in path:
        path = normalize(path)
        target = path + question + query
    return target, path


def normalize(path: bytes) -> bytes:
    """Return a path without escapes of unreserved characters and without dot segments (RFC 3986, section 6.2.2).

    The route is found by the same text that the backend gets. Raises Malformed for a broken escape.
    """
    if b"%" in path:
        path = ESCAPE.sub(_unescape, path)
    if b"/." not in path:
        return path
    kept: list[bytes] = []
    segments = path[1:].split(b"/")
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def _unescape(match: "re.Match[bytes]") -> bytes:
    if match[1] is None:
        raise Malformed("broken escape in the path")
    byte = int(match[1], 16)
    return bytes((byte,)) if byte in UNRESERVED else match[0].upper()


class LengthBody:
    """A body whose length is known."""

    __slots__ = ("left",)
    trailers: Sequence[Field] = ()

    def __init__(self, length: int) -> None:
        self.left = length

    @property
    def is_done(self) -> bool:
        """Whether the whole body was taken."""
        return self.left == 0

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the part of `data` that belongs to the body, and the rest."""
        if len(data) <= self.left:
            self.left -= len(data)
            return data, b""
        left, self.left = self.left, 0
        return data[:left], data[left:]


class EndlessBody:
    """A body that ends with its connection."""

    __slots__ = ()
    is_done = False
    trailers: Sequence[Field] = ()

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return all of `data`."""
        return data, b""


class FramedBody:
    """A body that its connection delimits, as HTTP/2 does; `left` is what a Content-Length promises, -1: nothing."""

    __slots__ = ("is_done", "left", "trailers")

    def __init__(self, left: int = -1) -> None:
        self.left = left
        self.is_done = False
        self.trailers: Sequence[Field] = ()

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return all of `data`. Raises Malformed if it is more than was promised."""
        if self.left >= 0:
            self.left -= len(data)
            if self.left < 0:
                raise Malformed("a body is longer than its Content-Length")
        return data, b""

    def finish(self, trailers: Sequence[Field] = ()) -> None:
        """Note the end. Raises Malformed if something is missing."""
        if self.left > 0:
            raise Malformed("a body is shorter than its Content-Length")
        self.is_done = True
        self.trailers = [field for field in trailers if field[0].lower() not in NOT_IN_TRAILERS]


class ChunkedBody:
    """A body in chunks; after `is_done`, `trailers` has the fields behind it."""

    __slots__ = ("_expected", "_held", "_left", "is_done", "trailers")

    def __init__(self) -> None:
        self._held = b""  # an incomplete line
        self._left = 0  # of the present chunk
        self._expected = _SIZE
        self.is_done = False
        self.trailers: Sequence[Field] = ()

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the content in `data`, and what comes behind the body. Raises Malformed."""
        if self._held:
            data, self._held = self._held + data, b""
        position, size, pieces = 0, len(data), []
        while position < size:
            if self._expected == _CONTENT:
                end = min(position + self._left, size)
                pieces.append(data[position:end])
                self._left -= end - position
                position = end
                if not self._left:
                    self._expected = _END
            elif self._expected == _END:
                line = data[position : position + 2]
                if not b"\r\n".startswith(line):
                    raise Malformed("a chunk is longer than its size")
                if len(line) < 2:
                    break
                position += 2
                self._expected = _SIZE
            elif self._expected == _SIZE:
                moved = self._size(data, position)
                if not moved:
                    break
                position = moved
            else:
                moved = self._trailers(data, position)
                if not moved:
                    break
                return b"".join(pieces), data[moved:]
        self._held = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), b""

    def _size(self, data: bytes, position: int) -> int:
        """Read the line with a chunk's size; return the position behind it, 0 if it is incomplete."""
        end = data.find(b"\n", position, position + CHUNK_LINE_BYTES_MAX)
        if end < 0:
            if len(data) - position >= CHUNK_LINE_BYTES_MAX:
                raise Malformed("the line of a chunk is too long")
            return 0
        match = CHUNK_LINE.fullmatch(data, position, end + 1)
        if match is None:
            raise Malformed("invalid size of a chunk")
        self._left = int(match[1], 16)
        self._expected = _CONTENT if self._left else _TRAILERS
        return end + 1

    def _trailers(self, data: bytes, position: int) -> int:
        """Read all trailers; return the position behind them, 0 if they are incomplete."""
        if data.startswith(b"\r\n", position):
            self.is_done = True
            return position + 2
        end = data.find(HEAD_END, position)
        if end < 0 or end - position > TRAILERS_BYTES_MAX:
            if len(data) - position > TRAILERS_BYTES_MAX:
                raise Malformed("the trailers are too large")
            return 0
        match = TRAILERS.fullmatch(data, position, end + 4)
        if match is None:
            raise Malformed("invalid trailers")
        self.trailers = [
            field for field in fields_of(match[1]) if field[0].lower() not in NOT_IN_TRAILERS
        ]
        self.is_done = True
        return end + 4


_SIZE, _CONTENT, _END, _TRAILERS = range(4)

Body = LengthBody | EndlessBody | ChunkedBody | FramedBody


def body_of(length: int | None) -> Body:
    """Return the reader of a body of a length as `Request` and `Response` have it."""
    if length is None:
        return EndlessBody()
    return ChunkedBody() if length < 0 else LengthBody(length)


def last_chunk(trailers: Sequence[Field]) -> bytes:
    """Return the end of a body in chunks."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"".join((b"0\r\n", *(b"%b: %b\r\n" % field for field in trailers), b"\r\n"))


REQUEST_FIELDS = {
    b"host": "host",
    b"content-length": "length",
    b"transfer-encoding": "coding",
    b"connection": "connection",
    b"proxy-connection": "drop",
    b"keep-alive": "drop",
    b"te": "drop",
    b"trailer": "drop",
    b"upgrade": "upgrade",
    b"expect": "expect",
    b"http2-settings": "drop",
    b"proxy": "drop",  # HTTP_PROXY of CGI programs
    # Set by the proxy: what a client says of them is not trusted.
    b"forwarded": "drop",
    b"x-forwarded-for": "drop",
    b"x-forwarded-proto": "drop",
    b"x-forwarded-host": "drop",
    b"x-forwarded-port": "drop",
    b"x-forwarded-scheme": "drop",
    b"x-forwarded-server": "drop",
    b"x-forwarded-ssl": "drop",
    b"x-real-ip": "drop",
}
RESPONSE_FIELDS = {
    b"content-length": "length",
    b"transfer-encoding": "coding",
    b"connection": "connection",
    b"proxy-connection": "drop",
    b"keep-alive": "drop",
    b"te": "drop",
    b"upgrade": "upgrade",
}
