"""The small HTTP client of probes and hooks: one GET, certificates not verified, redirects on the same host followed.

It stands on asyncio streams alone, since a probe needs no connection pool, cookies or proxies, and must not be able to
hang: every read is bounded by the caller's timeout and by a limit of size.
"""

import asyncio
import ssl
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

BODY_LIMIT_BYTES = 10 * 1024
REDIRECTS_LIMIT = 10
USER_AGENT = "kube-probe/1.36"


class Answer(Struct, frozen=True):
    """What a server said."""

    status: int
    body: bytes


class HTTPFailed(Exception):
    """No HTTP answer could be had; `str()` says why."""


async def http_get(
    scheme: str, host: str, port: int, path: str, headers: Sequence[tuple[str, str]] = ()
) -> Answer:
    """Fetch a page; raises HTTPFailed. A redirect to another host is not followed but returned."""
    url = f"{scheme}://{_bracketed(host)}:{port}{path if path.startswith('/') else '/' + path}"
    try:
        return await _follow(url, headers)
    except ValueError as error:  # what the server redirects to, or the pod asks for, is no URL
        raise HTTPFailed(f"cannot parse URL: {error}") from error


async def _follow(url: str, headers: Sequence[tuple[str, str]]) -> Answer:
    for _ in range(REDIRECTS_LIMIT):
        answer, location = await _fetch(url, headers)
        if not location or answer.status not in {301, 302, 303, 307, 308}:
            return answer
        following = urljoin(url, location)
        if urlsplit(following).hostname != urlsplit(url).hostname:
            return answer
        url = following
    raise HTTPFailed(f"stopped after {REDIRECTS_LIMIT} redirects")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _fetch(url: str, headers: Sequence[tuple[str, str]]) -> tuple[Answer, str]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    context = _unverified() if secure else None
    try:
        reader, writer = await asyncio.open_connection(
            parts.hostname, port, ssl=context, limit=64 * 1024
        )
    except OSError as error:
        raise HTTPFailed(f"dial tcp {parts.hostname}:{port}: {error.strerror or error}") from error
    try:
        writer.write(_request(parts.path or "/", parts.query, parts.netloc, headers))
        await writer.drain()
        return await _answer(reader)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise HTTPFailed(f"malformed HTTP response from {url}: {error}") from error
    finally:
        writer.close()


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _request(path: str, query: str, host: str, headers: Sequence[tuple[str, str]]) -> bytes:
    target = f"{path}?{query}" if query else path
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
    return f"GET {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1", "replace")


async def _answer(reader: asyncio.StreamReader) -> tuple[Answer, str]:
    status_line = (await reader.readuntil(b"\n")).decode("latin-1").split(None, 2)
    if len(status_line) < 2 or not status_line[0].startswith("HTTP/"):
        raise ValueError("no status line")
    headers: dict[str, str] = {}
    while line := (await reader.readuntil(b"\n")).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = min(int(headers.get("content-length", BODY_LIMIT_BYTES)), BODY_LIMIT_BYTES)
    body = b""
    while len(body) < length and (piece := await reader.read(length - len(body))):
        body += piece
    return Answer(int(status_line[1]), body), headers.get("location", "")
