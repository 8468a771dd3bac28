"""The HTTPS port of a cluster in a test, for kubectl and every other client; opened when somebody asks for it."""

import socket
from contextlib import AsyncExitStack

from kubelite.api.auth.pki import KUBELET_CLIENT, Pki
from kubelite.api.http.app import APIServer
from kubelite.api.http.assembly import assemble
from kubelite.api.http.destinations import Destinations
from kubelite.api.http.flow_control import FlowControl
from kubelite.api.http.tunnels import Tunnels
from kubelite.api.registry.bootstrap import CALLER
from kubelite.clock import Clock
from kubelite.control_plane import ControlPlane
from kubelite.node.simulated.fleet import Fleet
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

HOST = "127.0.0.1"
GRACE_SECONDS = 0.0
BACKLOG = 128


class Port:
    """Listens from the start; answers once its server runs."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0), backlog=BACKLOG)
        self._tasks = TaskSet()
        self._running = AsyncExitStack()
        number: int = self._listener.getsockname()[1]
        self.number = number
        self.url = f"https://{HOST}:{number}"

    def open(
        self, plane: ControlPlane, pki: Pki, fleet: Fleet, clock: Clock, randomness: Randomness
    ) -> None:
        """Serve, in the loop of the cluster."""

        async def serve() -> None:
            flow = FlowControl()
            await flow.follow(plane.client(CALLER, "kube-apiserver"), clock)
            self._running.push_async_callback(flow.stop)
            parts = assemble(
                plane.verbs,
                plane.authenticator,
                plane.authorizer,
                clock=clock,
                randomness=randomness,
                node_tls=pki.client_context(KUBELET_CLIENT),
                address=lambda: f"{HOST}:{self.number}",
                destinations=Destinations(own=lambda: pki.serving_addresses, port=self.number),
                tunnels=Tunnels(),
                flow=flow,
                issuer=plane.tokens,
                ca_bundle=lambda: pki.ca_pem,
                reaches_nodes=fleet.reached(plane.measuring.reach),
                refusal_of_node=fleet.refusal,
            )
            server = APIServer(parts, ssl_context=pki.server_context())
            await server.serve(self._listener)
            self._running.push_async_callback(server.stop, GRACE_SECONDS)

        self._tasks.start(serve(), name="open the port")

    async def close(self) -> None:
        """End the server and its connections."""
        await self._tasks.stop()
        await self._running.aclose()
        self._listener.close()
