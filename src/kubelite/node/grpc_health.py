"""A client of the gRPC health checking protocol (grpc.health.v1), on asyncio streams.

A probe is one call on a connection of its own, and all frames that it is sent are bounded together, whatever they are;
so frames, headers and messages are those of `kubelite.grpc`, but the connection is not.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Annotated

from kubelite.grpc.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    pack_frame,
)
from kubelite.grpc.hpack import encode_headers
from kubelite.grpc.protobuf import Int32, Malformed, Message, decode, encode
from kubelite.limits import GRPC_PROBE_ANSWER

SERVING = 1
_FRAME = struct.Struct(">BHBBL")  # length in 8 + 16 bits, type, flags, stream


class HealthCheckRequest(Message):
    """Asks how a service is; "" asks about the whole server."""

    service: Annotated[str, 1] = ""


class HealthCheckResponse(Message):
    """How a service is."""

    status: Annotated[Int32, 1] = 0


class GRPCFailed(Exception):
    """The server is not healthy or did not answer; `str()` says why."""


async def grpc_health(host: str, port: int, service: str) -> None:
    """Return if the service is serving; raises GRPCFailed."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        raise GRPCFailed(f'timeout: failed to connect service "{host}:{port}" within 1s') from error
    try:
        message = encode(HealthCheckRequest(service=service))
        writer.write(PREFACE + pack_frame(SETTINGS, 0, 0, b""))
        writer.write(pack_frame(HEADERS, END_HEADERS, 1, _headers(f"{host}:{port}")))
        writer.write(pack_frame(DATA, END_STREAM, 1, struct.pack(">BL", 0, len(message)) + message))
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


def _headers(authority: str) -> bytes:
    return encode_headers(
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "kube-probe/1.36"),
        ]
    )


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
            writer.write(pack_frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            writer.write(pack_frame(PING, ACK, 0, payload))
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
    try:
        return decode(HealthCheckResponse, body[5:]).status
    except Malformed as error:
        raise GRPCFailed(f"error: health rpc failed: {error}") from error
