"""Calls of an engine of the Container Runtime Interface, whose failures become those of the node."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

from kubelite.grpc.client import GrpcClient
from kubelite.grpc.hpack import Header
from kubelite.grpc.method import A, Method, Q
from kubelite.grpc.status import Code, GrpcError
from kubelite.node.runtime import ContainerNotFound, EngineUnavailable, RuntimeFailure
from kubelite.offload import AtOnce, Offload

CALL_SECONDS: Final = 120.0  # as the kubelet
_AWAY: Final = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED)


class Unsupported(RuntimeFailure):
    """The engine does not know the method."""


class EngineCalls:
    """The methods of one engine."""

    def __init__(self, socket: Path, offload: Offload | None = None) -> None:
        self._client = GrpcClient(socket, offload=offload or AtOnce())

    async def __call__(
        self,
        method: Method[Q, A],
        request: Q,
        timeout_seconds: float = CALL_SECONDS,
        metadata: Sequence[Header] = (),
    ) -> A:
        """Return the answer. Raises EngineUnavailable, ContainerNotFound, Unsupported and RuntimeFailure."""
        try:
            return await self._client.unary(
                method, request, timeout_seconds=timeout_seconds, metadata=metadata
            )
        except GrpcError as error:
            raise _translated(error) from error

    async def stream(self, method: Method[Q, A], request: Q) -> AsyncGenerator[A, None]:
        """Yield the answers; raises as a call does."""
        answers = self._client.stream(method, request)
        try:
            async for answer in answers:
                yield answer
        except GrpcError as error:
            raise _translated(error) from error
        finally:
            await answers.aclose()

    async def connect(self) -> asyncio.Event:
        """Connect, unless that is done; return what is set once the connection is lost. Raises EngineUnavailable."""
        try:
            return await self._client.connect()
        except GrpcError as error:
            raise _translated(error) from error

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


def _translated(error: GrpcError) -> Exception:
    if error.code in _AWAY:
        return EngineUnavailable(f"cannot talk to the container engine: {error}")
    if error.code == Code.NOT_FOUND:
        return ContainerNotFound(error.message)
    if error.code == Code.UNIMPLEMENTED:
        return Unsupported(error.message)
    return RuntimeFailure(error.message)
