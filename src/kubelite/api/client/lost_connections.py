"""Connections that were lost, as aiohttp and uvloop tell of them by a bare RuntimeError."""

# aiohttp closes the socket of a connection given up in its handshake before uvloop does, and the next socket gets its
# number. A stream that is closed between two of its parts has no failure to raise at the next read.
_LOST = ("is used by transport", "Connection closed.")


def is_programs_fault(error: Exception) -> bool:
    """Return whether an error met at a connection is a RuntimeError that no lost connection explains."""
    return isinstance(error, RuntimeError) and not any(text in str(error) for text in _LOST)
