"""A client of the gRPC health checking protocol (grpc.health.v1), on asyncio streams.

One request over HTTP/2 without TLS needs few frames (RFC 9113) and literal headers (RFC 7541): they are written here.
"""

import asyncio
import struct

from kubelite.limits import GRPC_PROBE_ANSWER

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4
SERVING = 1
_FRAME = struct.Struct(">BHBBL")  # length in 8 + 16 bits, type, flags, stream


class GRPCFailed(Exception):
    """The server is not healthy or did not answer; `str()` says why."""


async def grpc_health(host: str, port: int, service: str) -> None:
    """Return if the service is serving; raises GRPCFailed."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        raise GRPCFailed(f'timeout: failed to connect service "{host}:{port}" within 1s') from error
    try:
        name = service.encode()
        message = b"\x0a" + _varint(len(name)) + name if name else b""
        writer.write(PREFACE + _frame(SETTINGS, 0, 0, b""))
        writer.write(_frame(HEADERS, END_HEADERS, 1, _headers(f"{host}:{port}")))
        writer.write(_frame(DATA, END_STREAM, 1, struct.pack(">BL", 0, len(message)) + message))
        await writer.drain()
        status = _serving_status(await _answer(reader, writer))
    except (OSError, EOFError) as error:
        raise GRPCFailed(f"error: health rpc failed: {error}") from error
    finally:
        # A server that reads nothing would keep a connection that is only closed, with all that is not sent yet.
        writer.transport.abort()
    if status != SERVING:
        raise GRPCFailed(f'service unhealthy (responded with "{_NAMES.get(status, status)}")')


_NAMES = {0: "UNKNOWN", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def _varint(number: int) -> bytes:
    """Encode a length as protobuf does: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    length = len(payload)
    return _FRAME.pack(length >> 16, length & 0xFFFF, kind, flags, stream) + payload


def _headers(authority: str) -> bytes:
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "kube-probe/1.36"),
    )
    block = b""
    for name, value in fields:
        block += b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    return block


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Collect the data of stream 1 up to its end; all that comes meanwhile, answered or not, is bounded."""
    body = b""
    left = GRPC_PROBE_ANSWER.value
    while True:
        high, low, kind, flags, stream = _FRAME.unpack(await reader.readexactly(_FRAME.size))
        length = high << 16 | low
        left -= _FRAME.size + length
        if left < 0:
            GRPC_PROBE_ANSWER.reached()
            raise GRPCFailed("error: health rpc failed: answer too large")
        payload = await reader.readexactly(length)
        if kind == SETTINGS and not flags & ACK:
            writer.write(_frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            writer.write(_frame(PING, ACK, 0, payload))
        elif kind in {RST_STREAM, GOAWAY}:
            raise GRPCFailed("error: health rpc failed: the server closed the stream")
        elif kind == DATA and stream == 1:
            body += payload
        if stream == 1 and kind in {DATA, HEADERS} and flags & END_STREAM:
            return body


def _serving_status(body: bytes) -> int:
    """Decode the one enum field of HealthCheckResponse. Raises GRPCFailed without a message: the call failed then."""
    if len(body) < 5:
        raise GRPCFailed(
            "error: health rpc failed: the service is not known or does not implement the "
            "grpc health protocol (grpc.health.v1.Health)"
        )
    message = body[5:]
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0
