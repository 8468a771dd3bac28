"""URLs as Go 1.26's net/url reads and writes them, with its messages.

Escapes may stand for bytes that are no text, so parts are bytes until somebody asks for them.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from kubelite.cel.libraries.go_text import quote, quote_bytes
from kubelite.cel.libraries.netip import Unreadable as UnreadableAddress
from kubelite.cel.libraries.netip import parse_address

_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_SCHEME: Final = re.compile(rb"[a-zA-Z][a-zA-Z0-9+.-]*:")
_NO_SCHEME: Final = re.compile(rb":")
_PORT: Final = re.compile(rb"(?::[0-9]*)?")
_USER: Final = re.compile(rb"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_ESCAPE: Final = re.compile(rb"%([0-9a-fA-F]{2})")
_NOT_ESCAPE: Final = re.compile(rb"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)

_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~"
_PATH: Final = frozenset(_LETTERS + b"$&+,/:;=@")
_USER_PART: Final = frozenset(_LETTERS + b"$&+,;=")
_FRAGMENT: Final = frozenset(_LETTERS + b"$&+,/:;=?@!()*")
_HOST: Final = frozenset(_LETTERS + b"!$&'()*+,;=:[]<>\"")
_ENCODED_EXTRA: Final = frozenset(b"!$&'()*+,;=:@[]%")  # allowed in what is encoded already


class Unreadable(ValueError):
    """The text is no URL; the message is Go's."""


class Url(NamedTuple):
    """The parts of a URL; `path` and `fragment` without escapes, `raw_` as written where Go would write otherwise."""

    scheme: bytes = b""
    opaque: bytes = b""
    user: bytes | None = None  # as Go writes it
    host: bytes = b""
    path: bytes = b""
    raw_path: bytes = b""
    has_empty_host: bool = False
    has_empty_query: bool = False
    query: bytes = b""
    fragment: bytes = b""
    raw_fragment: bytes = b""

    def escaped_path(self) -> bytes:
        """Return the path with escapes."""
        if self.raw_path and _is_encoded(self.raw_path, _PATH):
            return self.raw_path
        return b"*" if self.path == b"*" else _escape(self.path, _PATH)

    def __bytes__(self) -> bytes:
        text = self.scheme + b":" if self.scheme else b""
        text += self.opaque or self._hierarchy(is_first=not text)
        if self.has_empty_query or self.query:
            text += b"?" + self.query
        if self.fragment:
            is_written = self.raw_fragment and _is_encoded(self.raw_fragment, _FRAGMENT)
            text += b"#" + (self.raw_fragment if is_written else _escape(self.fragment, _FRAGMENT))
        return text

    def _hierarchy(self, *, is_first: bool) -> bytes:
        text = b""
        if self.scheme or self.host or self.user is not None:
            is_bare = self.has_empty_host and not self.host and self.user is None
            if not is_bare and (self.host or self.path or self.user is not None):
                text = b"//"
            if self.user is not None:
                text += self.user + b"@"
            text += _escape(self.host, _HOST)
        path = self.escaped_path()
        if path and path[:1] != b"/" and self.host:
            text += b"/"
        if is_first and not text and b":" in path.partition(b"/")[0]:
            text = b"./"
        return text + path

    def host_and_port(self) -> tuple[bytes, bytes]:
        """Return the host without brackets, and the port, empty if there is none."""
        host, port = self.host, b""
        colon = host.rfind(b":")
        if colon >= 0 and _PORT.fullmatch(host, colon):
            host, port = host[:colon], host[colon + 1 :]
        if host.startswith(b"[") and host.endswith(b"]"):
            host = host[1:-1]
        return host, port

    def query_values(self) -> dict[str, list[str]]:
        """Return the values of each key of the query; what cannot be read is left out."""
        found: dict[str, list[str]] = {}
        for setting in self.query.split(b"&"):
            if not setting or b";" in setting:
                continue
            key, _, value = setting.partition(b"=")
            try:
                name, text = (_unescape(part.replace(b"+", b" ")) for part in (key, value))
            except ValueError:
                continue
            found.setdefault(text_of(name), []).append(text_of(text))
        return found


def text_of(data: bytes) -> str:
    """Return bytes as text; what is none becomes the replacement character."""
    return data.decode(errors="replace")


def parse(text: str) -> Url:
    """Read a URL, which may be relative and have a fragment; raises Unreadable."""
    written, _, fragment = text.partition("#")
    try:
        url = _parse(written.encode(errors="replace"), is_request=False)
        raw = fragment.encode(errors="replace")
        if not raw:
            return url
        plain = _unescape(raw)
    except ValueError as error:
        raise Unreadable(f"parse {quote(text)}: {error}") from error
    return url._replace(
        fragment=plain, raw_fragment=b"" if _escape(plain, _FRAGMENT) == raw else raw
    )


def parse_request(text: str) -> Url:
    """Read an absolute URL or path without fragment; raises Unreadable."""
    try:
        return _parse(text.encode(errors="replace"), is_request=True)
    except ValueError as error:
        raise Unreadable(f"parse {quote(text)}: {error}") from error


def _parse(text: bytes, *, is_request: bool) -> Url:
    if _CONTROL.search(text):
        raise ValueError("net/url: invalid control character in URL")
    if not text and is_request:
        raise ValueError("empty url")
    if text == b"*":
        return Url(path=b"*")
    if _NO_SCHEME.match(text):
        raise ValueError("missing protocol scheme")
    matched = _SCHEME.match(text)
    scheme = text[: matched.end() - 1].lower() if matched else b""
    rest = text[matched.end() :] if matched else text
    has_empty_query = rest.endswith(b"?") and rest.count(b"?") == 1
    rest, _, query = rest.partition(b"?")
    url = Url(scheme=scheme, query=query, has_empty_query=has_empty_query)
    if not rest.startswith(b"/"):
        if scheme:
            return url._replace(opaque=rest)
        if is_request:
            raise ValueError("invalid URI for request")
        if b":" in rest.partition(b"/")[0]:
            raise ValueError("first path segment in URL cannot contain colon")
    return _with_hierarchy(url, rest, is_request=is_request)


def _with_hierarchy(url: Url, rest: bytes, *, is_request: bool) -> Url:
    is_open = bool(url.scheme) or (not is_request and not rest.startswith(b"///"))
    if is_open and rest.startswith(b"//"):
        authority, slash, path = rest[2:].partition(b"/")
        rest = slash + path
        url = _with_authority(url, authority)
    elif url.scheme and rest.startswith(b"/"):
        url = url._replace(has_empty_host=True)
    path = _unescape(rest)
    return url._replace(path=path, raw_path=b"" if _escape(path, _PATH) == rest else rest)


def _with_authority(url: Url, authority: bytes) -> Url:
    user, at, host = authority.rpartition(b"@")
    url = url._replace(host=_parse_host(url.scheme, host))
    if not at:
        return url
    if not _USER.fullmatch(user):
        raise ValueError("net/url: invalid userinfo")
    parts = (_escape(_unescape(part), _USER_PART) for part in user.split(b":", 1))
    return url._replace(user=b":".join(parts))


def _parse_host(scheme: bytes, host: bytes) -> bytes:
    bracket = host.rfind(b"[")
    if bracket > 0:
        raise ValueError("invalid IP-literal")
    if bracket == 0:
        return _parse_literal(host)
    colon = host.find(b":") if scheme in (b"http", b"https") else host.rfind(b":")
    if colon >= 0:
        _check_port(host[colon:])
    return _unescape_host(host)


def _check_port(port: bytes) -> None:
    if not _PORT.fullmatch(port):
        raise ValueError(f"invalid port {quote_bytes(port)} after host")


def _parse_literal(host: bytes) -> bytes:
    """Read an IPv6 address in brackets, perhaps with an escaped zone, and a port."""
    literal, closing, port = host[1:].rpartition(b"]")
    if not closing:
        raise ValueError("missing ']' in host")
    _check_port(port)
    address, zoned, zone = literal.partition(b"%25")
    plain = _unescape_host(address)
    if zoned:
        plain += _unescape_zone(zoned + zone)
    try:
        parsed = parse_address(text_of(plain))
    except UnreadableAddress as error:
        raise ValueError(f"invalid host: {error}") from error
    if parsed.bits == 32:
        raise ValueError("invalid IP-literal")
    return b"[" + plain + b"]" + port


def _unescape(data: bytes) -> bytes:
    wrong = _NOT_ESCAPE.search(data)
    if wrong:
        raise ValueError(f"invalid URL escape {quote_bytes(wrong[0])}")
    return _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), data)


def _unescape_host(data: bytes) -> bytes:
    """Replace the escapes of a host, which may stand for no ASCII but the percent sign."""
    return _unescape_checked(data, lambda sign: sign >= 0x80)


def _unescape_zone(data: bytes) -> bytes:
    """Replace the escapes of a zone, which may stand for a space and what a host may have."""
    return _unescape_checked(data, lambda sign: sign == ord(" ") or sign in _HOST)


def _unescape_checked(data: bytes, may_stand_for: Callable[[int], bool]) -> bytes:
    """Replace escapes; those of a percent sign may always be there. Raises ValueError."""
    at = 0
    while at < len(data):
        if data[at] == ord("%"):
            escape = _ESCAPE.match(data, at)
            if escape is None:
                break
            if escape[0] != b"%25" and not may_stand_for(int(escape[1], 16)):
                raise ValueError(f"invalid URL escape {quote_bytes(escape[0])}")
            at += 3
        elif data[at] < 0x80 and data[at] not in _HOST:
            raise ValueError(f"invalid character {quote_bytes(data[at : at + 1])} in host name")
        else:
            at += 1
    return _unescape(data)


def _escape(data: bytes, allowed: frozenset[int]) -> bytes:
    if allowed.issuperset(data):
        return data
    return b"".join(bytes([sign]) if sign in allowed else b"%%%02X" % sign for sign in data)


def _is_encoded(data: bytes, allowed: frozenset[int]) -> bool:
    return (allowed | _ENCODED_EXTRA).issuperset(data)
