"""A connection to the socket of a plugin."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from kubelite.grpc.method import A, Method, Q

INFO_SECONDS: Final = 10.0  # of the calls that a registration makes


class Channel(Protocol):
    """A connection to one socket, made with the first call and again after it broke."""

    async def unary(self, method: Method[Q, A], request: Q, *, timeout_seconds: float) -> A:
        """Make one call. Raises GrpcError."""
        ...

    async def close(self) -> None:
        """Close the connection; calls in flight fail."""
        ...


Connect = Callable[[Path], Channel]
