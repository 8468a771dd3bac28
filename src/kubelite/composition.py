"""What runs over a control plane, joined in one place: controllers, scheduler, and the clients of nodes.

The server, the Python kit and simulations differ in what they give (clock, randomness, threads) and in how they start.
"""

from collections.abc import Awaitable, Callable, Mapping

from kubelite.api.auth.caller import AUTHENTICATED, Caller
from kubelite.api.client.local import LocalClient
from kubelite.clock import Clock
from kubelite.control import CONTROLLERS
from kubelite.control.options import Options
from kubelite.control.runtime import Runtime
from kubelite.control.scheduler.requests import Amounts
from kubelite.control.scheduler.scheduler import Scheduler
from kubelite.control_plane import ControlPlane
from kubelite.offload import Offload
from kubelite.parts import Parts
from kubelite.randomness import Randomness


class Composition:
    """The components over one control plane, each with an identity of its own."""

    def __init__(
        self,
        plane: ControlPlane,
        *,
        clock: Clock,
        randomness: Randomness,
        offload: Offload,
        options: Options,
        read_loads: Callable[[], Awaitable[Mapping[str, Amounts]]] | None = None,
    ) -> None:
        """`read_loads` returns what nodes use, for a scheduler that looks at it."""
        self._plane = plane
        self._clock = clock
        self._randomness = randomness
        self._offload = offload
        self._options = options
        self._read_loads = read_loads

    def controllers(self) -> Runtime:
        """Return all controllers, not started."""
        manager = Caller("system:kube-controller-manager")
        return Runtime(
            CONTROLLERS,
            client_for=self._plane.controller_client,
            mirrors=self._plane.client(manager, "kube-controller-manager"),
            clock=self._clock,
            randomness=self._randomness,
            offload=self._offload,
            options=self._options,
        )

    def scheduler(self) -> Scheduler:
        """Return the scheduler, not started."""
        client = self._plane.client(Caller("system:kube-scheduler"), "kube-scheduler")
        return Scheduler(
            client=client,
            mirrors=client,
            clock=self._clock,
            randomness=self._randomness,
            offload=self._offload,
            read_loads=self._read_loads,
        )

    async def start(self, parts: Parts, *, schedules: bool = True) -> None:
        """Start the controllers as parts of a server, and the scheduler if it `schedules`."""
        await parts.start("controller-manager", self.controllers)
        if schedules:
            await parts.start("scheduler", self.scheduler)


def node_client(plane: ControlPlane, name: str) -> LocalClient:
    """Return the client of a node's agent."""
    return plane.client(Caller(f"system:node:{name}", ("system:nodes", AUTHENTICATED)), "kubelet")
