"""A fault of connections under uvloop."""


def is_descriptor_in_use(error: RuntimeError) -> bool:
    """Return whether a connection failed because uvloop still holds the descriptor of one given up in its handshake.

    aiohttp closes the socket of such a connection before uvloop does, and the next socket gets its number.
    """
    return "is used by transport" in str(error)
