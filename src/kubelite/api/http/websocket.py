"""The server's side of a WebSocket (RFC 6455) that only sends: watches and logs for clients that cannot stream HTTP."""

import asyncio
import base64
import hashlib
import struct

from aiohttp import web

from kubelite.api.errors import BadRequest

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE = 0x1, 0x2, 0x8
NORMAL_CLOSE = b"\x88\x02\x03\xe8"
BASE64_PROTOCOL = "base64.binary.k8s.io"
READER_PROTOCOLS = ("binary.k8s.io", BASE64_PROTOCOL)
RECEIVED_BYTES_MAX = 64 * 1024
FRAMES_A_TURN = 256


def is_websocket(request: web.BaseRequest) -> bool:
    """Say whether a request opens a WebSocket."""
    connection = request.headers.get("Connection", "").lower()
    return "upgrade" in connection and request.headers.get("Upgrade", "").lower() == "websocket"


def chosen_protocol(request: web.BaseRequest) -> str:
    """Return the first subprotocol offered that is known; raises BadRequest when others only are offered."""
    offered = [
        protocol.strip()
        for header in request.headers.getall("Sec-WebSocket-Protocol", ())
        for protocol in header.split(",")
        if protocol.strip()
    ]
    for protocol in offered:
        if protocol in READER_PROTOCOLS:
            return protocol
    if offered:
        raise BadRequest(f"requested protocol(s) are not supported: {offered}")
    return ""


def handshake(
    request: web.BaseRequest, headers: list[tuple[str, str]], protocol: str = ""
) -> bytes:
    """Return the head that opens the WebSocket; raises BadRequest for a request that is not one."""
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
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
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
