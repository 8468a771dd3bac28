"""The TLS contexts made of a joined machine's files, kept the newest after each renewal.

A context that listens or dials for long, the node's endpoint and the tunnel, is changed in place: later handshakes
present the new certificate. The clients of the API get a new context instead, since they keep connections by context:
the server refuses requests over a connection whose certificate has expired. With the new context the clients close
what is idle, end their watches at random times within RETIRED_SECONDS, and begin them anew; no request is cut off. The
tunnel stays open, as its certificate was checked when it was opened.
"""

import asyncio
import ssl

from kubelite.api.auth.tls import client_context, server_context
from kubelite.api.client.remote import RemoteClient
from kubelite.joining.files import CLIENT, NETWORK, SERVING, AgentFiles, Leaf


class Credentials:
    """The contexts of one joined machine."""

    def __init__(self, files: AgentFiles) -> None:
        """Read the files, which must be complete. Blocks; raises OSError, including SSLError."""
        self._files = files
        self._ca = files.read_ca()
        self.serving = server_context(files.path(SERVING), self._ca, files.key_path(SERVING))
        self.node = self.fresh(CLIENT)  # for connections that renew it in place
        self._clients: list[tuple[RemoteClient, Leaf]] = []

    def fresh(self, leaf: Leaf) -> ssl.SSLContext:
        """Return a new context of a client with the newest certificate. Blocks."""
        return client_context(self._ca, self._files.path(leaf), self._files.key_path(leaf))

    def keep(self, client: RemoteClient, leaf: Leaf) -> None:
        """Give `client` a new context after each renewal of `leaf` or of the CA certificates."""
        assert leaf in (CLIENT, NETWORK)
        self._clients.append((client, leaf))

    async def reload(self) -> None:
        """Use what is on disk now. Raises OSError."""
        contexts = await asyncio.to_thread(self._read_again)
        for (client, _), context in zip(self._clients, contexts, strict=True):
            client.transport.ssl_context = context

    def _read_again(self) -> list[ssl.SSLContext]:
        self._ca = self._files.read_ca()
        for context, leaf in ((self.serving, SERVING), (self.node, CLIENT)):
            context.load_cert_chain(self._files.path(leaf), self._files.key_path(leaf))
            context.load_verify_locations(cadata=self._ca.decode())
        return [self.fresh(leaf) for _, leaf in self._clients]
