"""A connector of aiohttp that reaches addresses on nodes through their tunnels."""

import asyncio
import ssl

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

from kubelite.api.errors import ServiceUnavailable
from kubelite.api.http.tunnels import Tunnels

ADDRESSES_MAX = 1000  # whose node is known: more than the endpoints of all webhooks


class TunnelConnector(aiohttp.TCPConnector):
    """Connects through the tunnel of the node that an address lies on, and directly where there is none.

    As aiohttp's own connectors for other kinds of sockets, it replaces what makes a connection; they are kept for
    later requests as ever.
    """

    def __init__(self, tunnels: Tunnels, *, keepalive_timeout: float) -> None:
        super().__init__(limit=0, keepalive_timeout=keepalive_timeout)
        self._tunnels = tunnels
        self._nodes: dict[tuple[str, int], str] = {}

    def locate(self, host: str, port: int, node: str) -> None:
        """Note the node that an address lies on ("": not known), for connections to it that are made from now on."""
        if len(self._nodes) >= ADDRESSES_MAX:
            self._nodes.clear()
        self._nodes[host, port] = node

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature of aiohttp
    ) -> ResponseHandler:
        host, port = req.url.host or "", req.port or 0
        node = self._nodes.get((host, port), "")
        if not self._tunnels.has(node):
            return await super()._create_connection(req, traces, timeout)
        try:
            reached = await self._tunnels.connect(node, host, port)
        except ServiceUnavailable as error:
            raise aiohttp.ClientConnectorError(
                req.connection_key, OSError(error.message)
            ) from error
        context = self._get_ssl_context(req)
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(
                self._factory,
                sock=reached,
                ssl=context,
                server_hostname=(req.server_hostname or host) if context else None,
            )
        except BaseException as error:
            reached.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
            if isinstance(error, OSError):
                raise aiohttp.ClientConnectorError(req.connection_key, error) from error
            raise
        return protocol
