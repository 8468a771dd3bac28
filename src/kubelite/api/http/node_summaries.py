"""Reads the statistics of nodes from their endpoints, through the same connections as the proxy of nodes."""

from kubelite.api.errors import ServiceUnavailable
from kubelite.api.http.backends import Backends
from kubelite.api.http.dialer import Backend, Dialer
from kubelite.api.http.relay import Answered, body_parts, read_head
from kubelite.limits import NODE_SUMMARY
from kubelite.serving.closing import close_within_bounds

PATH = "/stats/summary?only_cpu_and_memory=true"
OK = 200


class NodeSummaries:
    """Asks nodes for their summary."""

    def __init__(self, backends: Backends, dialer: Dialer) -> None:
        self._backends = backends
        self._dialer = dialer

    async def fetch(self, node: str) -> bytes:
        """Return the summary of a node. Raises NotFound, InternalError, BadRequest and ServiceUnavailable.

        The caller bounds the time.
        """
        backend = await self._backends.node(node)
        reader, writer = await self._dialer.dial(backend)
        try:
            writer.write(_request(backend))
            try:
                head = await read_head(reader)
            except (ValueError, EOFError, OSError) as error:
                raise ServiceUnavailable(f"no answer from {backend.authority}") from error
            if head.status != OK:
                raise ServiceUnavailable(f"{backend.authority} answers with {head.status}")
            parts, size = [], 0
            async for part in body_parts(Answered(head, reader, writer, None, _nothing)):
                size += len(part)
                if size > NODE_SUMMARY.value:
                    NODE_SUMMARY.reached()
                    raise ServiceUnavailable(f"the statistics of {backend.authority} are too long")
                parts.append(part)
            return b"".join(parts)
        finally:
            close_within_bounds(writer.transport)


def _request(backend: Backend) -> bytes:
    lines = (
        f"GET {PATH} HTTP/1.1",
        f"Host: {backend.authority}",
        "Accept: application/json",
        "Connection: close",
    )
    return "\r\n".join([*lines, "", ""]).encode()


def _nothing() -> None:
    pass
