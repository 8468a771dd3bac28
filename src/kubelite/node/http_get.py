"""The small HTTP client of probes and hooks: one GET, certificates not verified, redirects on the same host followed.

It stands on asyncio streams alone, since a probe needs no connection pool, cookies or proxies, and must not be able to
hang: every read is bounded by the caller's timeout and by a limit of size. What a pod or a redirect names goes into the
request only where it cannot end its line, or it would be a second request that the API never saw.
"""

import asyncio
import re
import ssl
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

from kubelite.limits import HTTP_PROBE_BODY, HTTP_PROBE_HEAD
from kubelite.node.name_lookup import Resolve, connect

REDIRECTS_LIMIT = 10
PIECE_BYTES = 4096
USER_AGENT = "kube-probe/1.36"
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110, 5.6.2
_VALUE_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(r"[-A-Za-z0-9._:%\[\]]+", re.ASCII)
_UNSENDABLE = re.compile(rb"[^!-~]")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})(?: |$)")


class Answer(Struct, frozen=True):
    """The status and body of a response."""

    status: int
    body: bytes


class HTTPFailed(Exception):
    """There was no valid HTTP response; `str()` is the reason."""


async def http_get(
    scheme: str,
    host: str,
    port: int,
    path: str,
    headers: Sequence[tuple[str, str]],
    resolve: Resolve,
) -> Answer:
    """Fetch a page; raises HTTPFailed. A redirect to another host is not followed but returned."""
    for name, value in headers:
        _check_field(name, value)
    if not _HOST.fullmatch(host):
        raise HTTPFailed(f"cannot parse URL: invalid character in host name {host!r}")
    path = _sendable(path).decode("ascii")
    url = f"{scheme}://{_bracketed(host)}:{port}{path if path.startswith('/') else '/' + path}"
    try:
        return await _follow(url, headers, resolve)
    except ValueError as error:  # the redirect, or the path in the probe, is no URL
        raise HTTPFailed(f"cannot parse URL: {error}") from error


async def _follow(url: str, headers: Sequence[tuple[str, str]], resolve: Resolve) -> Answer:
    for _ in range(REDIRECTS_LIMIT):
        answer, location = await _fetch(url, headers, resolve)
        if not location or answer.status not in {301, 302, 303, 307, 308}:
            return answer
        following = urljoin(url, location)
        if urlsplit(following).hostname != urlsplit(url).hostname:
            return answer
        url = following
    raise HTTPFailed(f"stopped after {REDIRECTS_LIMIT} redirects")


def _check_field(name: str, value: str) -> None:
    """Reject a header that Go's client rejects, with its message. Raises HTTPFailed."""
    if not _FIELD_NAME.fullmatch(name):
        raise HTTPFailed(f"net/http: invalid header field name {name!r}")
    if _VALUE_CONTROL.search(value):
        raise HTTPFailed(f'net/http: invalid header field value for "{name}"')


def _sendable(path: str) -> bytes:
    """Percent-encode the characters that may not be in a request line, such as spaces and line feeds."""
    encoded = path.encode("utf-8", "surrogatepass")
    return _UNSENDABLE.sub(lambda matched: b"%%%02X" % matched.group()[0], encoded)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _fetch(
    url: str, headers: Sequence[tuple[str, str]], resolve: Resolve
) -> tuple[Answer, str]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    authority = parts.netloc.rpartition("@")[2]
    if not _HOST.fullmatch(authority):
        raise HTTPFailed(f"cannot parse URL: invalid character in host name {authority!r}")
    context = _unverified() if secure else None
    try:
        reader, writer = await connect(
            resolve, parts.hostname or "", port, tls=context, limit=2 * PIECE_BYTES
        )
    except OSError as error:
        raise HTTPFailed(f"dial tcp {parts.hostname}:{port}: {error.strerror or error}") from error
    try:
        writer.write(_request(parts.path or "/", parts.query, authority, headers))
        await writer.drain()
        return await _answer(reader)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise HTTPFailed(f"malformed HTTP response from {url}: {error}") from error
    finally:
        # A server that reads nothing would keep a connection that is only closed, with all that is not sent yet.
        writer.transport.abort()


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _request(path: str, query: str, host: str, headers: Sequence[tuple[str, str]]) -> bytes:
    target = _sendable(f"{path}?{query}" if query else path)
    lines = {
        "host": ("Host", host),
        "user-agent": ("User-Agent", USER_AGENT),
        "accept": ("Accept", "*/*"),
    }
    extra = []
    for name, value in headers:
        if name.lower() in lines:
            lines[name.lower()] = (name, value)
        else:
            extra.append((name, value))
    fields = [*lines.values(), *extra, ("Connection", "close")]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields if value)
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, head.encode("utf-8", "surrogatepass"))


async def _answer(reader: asyncio.StreamReader) -> tuple[Answer, str]:
    head, body = await _head(reader)
    status_line, *fields = head.replace(b"\r\n", b"\n").split(b"\n")
    if (matched := _STATUS.match(status_line)) is None:
        raise ValueError("no status line")
    wanted = {b"content-length": b"", b"location": b""}
    for field in fields:
        name, _, value = field.partition(b":")
        if (name := name.strip().lower()) in wanted:
            wanted[name] = value.strip()
    length = HTTP_PROBE_BODY.value
    if text := wanted[b"content-length"]:
        if not text.isdigit():
            raise ValueError("no length")
        length = min(int(text), length)
    while len(body) < length and (piece := await reader.read(length - len(body))):
        body += piece
    location = wanted[b"location"].decode("latin-1")
    return Answer(int(matched.group(1)), bytes(body[:length])), location


async def _head(reader: asyncio.StreamReader) -> tuple[bytes, bytearray]:
    """Read the head; return its lines and the part of the body that was read with them. Raises ValueError."""
    data = bytearray()
    while (end := _BLANK_LINE.search(data, max(len(data) - PIECE_BYTES - 4, 0))) is None:
        if len(data) > HTTP_PROBE_HEAD.value:
            HTTP_PROBE_HEAD.reached()
            raise ValueError(
                f"server response headers exceeded {HTTP_PROBE_HEAD.value} bytes; aborted"
            )
        piece = await reader.read(PIECE_BYTES)
        if not piece:
            raise EOFError("unexpected EOF")
        data += piece
    return bytes(data[: end.start()]), data[end.end() :]
