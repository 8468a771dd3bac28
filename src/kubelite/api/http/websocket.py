"""The server's side of a WebSocket (RFC 6455) that only sends: watches and logs for clients that cannot stream HTTP."""

import asyncio
import base64
import hashlib
import re
import struct

from aiohttp import web

from kubelite.api.errors import BadRequest, Unauthorized

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE = 0x1, 0x2, 0x8
NORMAL_CLOSE = b"\x88\x02\x03\xe8"
BASE64_PROTOCOL = "base64.binary.k8s.io"
PROTOCOL_HEADER = "Sec-WebSocket-Protocol"
BEARER_PROTOCOL = "base64url.bearer.authorization.k8s.io."
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+").fullmatch
READER_PROTOCOLS = ("binary.k8s.io", BASE64_PROTOCOL)
RECEIVED_BYTES_MAX = 64 * 1024
FRAMES_A_TURN = 256


def is_websocket(request: web.BaseRequest) -> bool:
    """Say whether a request opens a WebSocket."""
    connection = request.headers.get("Connection", "").lower()
    return "upgrade" in connection and request.headers.get("Upgrade", "").lower() == "websocket"


def offered_protocols(request: web.BaseRequest) -> list[str]:
    """Return the subprotocols a request offers, without those that carry a token: nobody else may see it."""
    return [each for each in _protocols(request) if not each.startswith(BEARER_PROTOCOL)]


def _protocols(request: web.BaseRequest) -> list[str]:
    headers = request.headers.getall(PROTOCOL_HEADER, ())
    named = (protocol.strip() for header in headers for protocol in header.split(","))
    return [protocol for protocol in named if protocol]


def bearer_token(request: web.BaseRequest) -> str:
    """Return the token that a browser, which cannot set headers, sends as a subprotocol; empty for none.

    Source: Kubernetes takes ``base64url.bearer.authorization.k8s.io.<base64url without padding>`` beside another
    subprotocol, which is the one that is answered. Raises Unauthorized for one that cannot be read.
    """
    encoded = [
        protocol.removeprefix(BEARER_PROTOCOL)
        for protocol in _protocols(request)
        if protocol.startswith(BEARER_PROTOCOL)
    ]
    if not encoded or encoded == [""]:
        return ""
    if len(encoded) > 1 or not offered_protocols(request) or not _BASE64URL(encoded[0]):
        raise Unauthorized("Unauthorized")
    padding = "=" * (-len(encoded[0]) % 4)
    try:
        return base64.urlsafe_b64decode(encoded[0] + padding).decode()
    except ValueError as error:
        raise Unauthorized("Unauthorized") from error


def chosen_protocol(request: web.BaseRequest) -> str:
    """Return the first subprotocol offered that is known; raises BadRequest when others only are offered."""
    offered = offered_protocols(request)
    for protocol in offered:
        if protocol in READER_PROTOCOLS:
            return protocol
    if offered:
        raise BadRequest(f"requested protocol(s) are not supported: {offered}")
    return ""


def handshake(
    request: web.BaseRequest, headers: list[tuple[str, str]], protocol: str = ""
) -> bytes:
    """Return the head that opens the WebSocket; raises BadRequest for a request that is not one.

    Without a `protocol` the only one that is offered is taken: browsers insist on one of those they offered.
    """
    offered = offered_protocols(request)
    if not protocol and len(offered) == 1 and _TOKEN(offered[0]):
        (protocol,) = offered
    key = request.headers.get("Sec-WebSocket-Key", "")
    if not key or request.headers.get("Sec-WebSocket-Version") != "13":
        raise BadRequest("the request does not open a WebSocket of version 13")
    accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()  # noqa: S324 - as the RFC says
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
    ]
    if protocol:
        lines.append(f"{PROTOCOL_HEADER}: {protocol}")
    lines += [f"{name}: {value}" for name, value in headers if name != "Content-Type"]
    return "\r\n".join([*lines, "", ""]).encode()


def frame(data: bytes, opcode: int) -> bytes:
    """Return one unmasked, whole message."""
    length = len(data)
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, length)
    elif length < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, length)
    return head + data


async def closed(reader: asyncio.StreamReader) -> None:
    """Wait until the client closes, in form or by leaving; what it says otherwise is dropped."""
    frames = 0
    try:
        while True:
            frames += 1
            if not frames % FRAMES_A_TURN:
                await asyncio.sleep(0)  # what has arrived is read without waiting
            first, second = await reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await reader.readexactly(8))
            if length > RECEIVED_BYTES_MAX:
                return
            await reader.readexactly(length + (4 if second & 0x80 else 0))
            if first & 0x0F == CLOSE:
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        return
