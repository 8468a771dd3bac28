"""Requests and responses in the fields of HTTP/2, checked as strictly as those of HTTP/1.1 (RFC 9113, section 8)."""

import re
from collections.abc import Sequence

from kubelite.grpc.hpack import Header
from kubelite.ingress.wire import (
    HOP_BY_HOP,
    LENGTH,
    NOT_IN_TRAILERS,
    REQUEST_FIELDS,
    RESPONSE_FIELDS,
    TOKEN,
    Field,
    Malformed,
    Request,
    Response,
    host_of,
    normal_form,
)

NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")  # of a field; upper case is malformed
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
METHOD = re.compile(TOKEN)
TARGET = re.compile(rb"[!-~]+")
STATUS = re.compile(r"[1-9][0-9]{2}")
REQUEST_PSEUDO = frozenset((":method", ":scheme", ":authority", ":path"))


def _split(
    fields: Sequence[Header], pseudo: frozenset[str]
) -> tuple[dict[str, bytes], list[Field]]:
    """Return the fields of the protocol itself, which come first and once, and the others."""
    own: dict[str, bytes] = {}
    rest: list[Field] = []
    for name, text in fields:
        value = text.encode("latin-1")
        if name.startswith(":"):
            if rest or name in own or name not in pseudo:
                raise Malformed("a field of the protocol is unknown, repeated or late")
            own[name] = value
            continue
        rest.append(checked(name.encode("latin-1"), value))
    return own, rest


def checked(name: bytes, value: bytes) -> Field:
    """Return a field as it may be passed on. Raises Malformed."""
    if not NAME.fullmatch(name) or not VALUE.fullmatch(value):
        raise Malformed("a field has an invalid name or value")
    if name in HOP_BY_HOP and (name not in (b"te", b"trailer")):
        raise Malformed("a field is of a connection of HTTP/1.1")
    return name, value.strip(b" \t")


class _Fields:
    """The fields of a request by what they are for."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.kept: list[Field] = []
        self.hosts: list[bytes] = []
        self.lengths: list[bytes] = []
        self.expects = False
        cookies: list[bytes] = []
        for name, value in fields:
            kind = REQUEST_FIELDS.get(name)
            if name == b"cookie":  # which clients of HTTP/2 send in pieces
                cookies.append(value)
            elif kind is not None:
                self._take(kind, name, value)
            elif b"_" not in name or name.replace(b"_", b"-") not in REQUEST_FIELDS:
                self.kept.append((name, value))
        if cookies:
            self.kept.append((b"cookie", b"; ".join(cookies)))

    def _take(self, kind: str, name: bytes, value: bytes) -> None:
        if kind == "host":
            self.hosts.append(value)
        elif kind == "length":
            self.lengths.append(value)
        elif kind == "expect":
            if value.lower() != b"100-continue":
                raise Malformed("unknown expectation")
            self.expects = True
        elif name == b"te" and value.lower() != b"trailers":
            raise Malformed("invalid TE")


def request_of(fields: Sequence[Header], *, is_end: bool) -> Request:
    """Return the request of a stream; without a Content-Length its body has length -1. Raises Malformed."""
    own, rest = _split(fields, REQUEST_PSEUDO)
    method, target = own.get(":method", b""), own.get(":path", b"")
    if not METHOD.fullmatch(method) or not TARGET.fullmatch(target):
        raise Malformed("no method or path")
    if own.get(":scheme") not in (b"http", b"https") or not target.startswith(b"/"):
        raise Malformed("no scheme, or a path that no route can have")
    found = _Fields(rest)
    length = _length_of(found.lengths)
    if is_end and length:
        raise Malformed("a body is missing")
    hosts = {*found.hosts, *(one for one in (own.get(":authority"),) if one is not None)}
    if len(hosts) != 1 or b"" in hosts:
        raise Malformed("there must be one host")
    authority = hosts.pop()
    target, path = normal_form(target)
    return Request(
        method,
        target,
        host_of(authority),
        authority,
        is_http_11=True,
        fields=found.kept,
        length=(0 if is_end else -1) if length is None else length,
        expects_continue=found.expects and not is_end,
        path=path,
    )


def _length_of(lengths: Sequence[bytes]) -> int | None:
    """Return what Content-Length says; None: there is none. Raises Malformed."""
    if not lengths:
        return None
    if len(lengths) > 1 or not LENGTH.fullmatch(lengths[0]):
        raise Malformed("invalid Content-Length")
    return int(lengths[0])


def response_of(fields: Sequence[Header]) -> Response:
    """Return the response of a stream, its length as far as Content-Length says it. Raises Malformed."""
    own, rest = _split(fields, frozenset((":status",)))
    status = own.get(":status", b"").decode("latin-1")
    if not STATUS.fullmatch(status):
        raise Malformed("no status")
    kept, lengths = [], []
    for name, value in rest:
        kind = RESPONSE_FIELDS.get(name)
        if kind == "length":
            lengths.append(value)
        elif kind is None:
            kept.append((name, value))
    length = _length_of(lengths)
    if length is not None:
        kept.append((b"content-length", lengths[0]))
    return Response(int(status), b"", is_http_11=True, fields=kept, length=length)


def trailers_of(fields: Sequence[Header]) -> list[Field]:
    """Return trailers that may be passed on. Raises Malformed."""
    _, rest = _split(fields, frozenset())
    return [field for field in rest if field[0] not in NOT_IN_TRAILERS]
