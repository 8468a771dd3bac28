"""Closes connections whose other side may never take what is still to be written."""

import asyncio

from kubelite.limits import STREAM_FLUSH_SECONDS


def close_within_bounds(transport: asyncio.WriteTransport) -> None:
    """Close a connection; what is written already is flushed for `STREAM_FLUSH_SECONDS` at most, then dropped.

    A transport that is only closed stays open until its buffer is empty, which a peer that reads nothing prevents for
    ever: its file descriptor would outlive the server's own stop.
    """
    if transport.get_write_buffer_size():
        loop = asyncio.get_running_loop()
        loop.call_later(STREAM_FLUSH_SECONDS.value, _abort, transport)
    transport.close()


def _abort(transport: asyncio.WriteTransport) -> None:
    if transport.get_write_buffer_size():
        STREAM_FLUSH_SECONDS.reached()
        transport.abort()
