"""Runs controllers on real verbs until nothing is left to do."""

from typing import Any

from fakes.harness import Harness
from fakes.recorded_offload import RecordedOffload
from fakes.server import Server
from kubelite.api.client.elsewhere import Delegated
from kubelite.control.options import Options
from kubelite.control.runtime import ControllerEntry, Runtime
from kubelite.randomness import SeededRandomness


class RealHarness(Harness):
    """A server without HTTP and a runtime with some controllers."""

    def __init__(self, *controllers: Any, delegated: Delegated | None = None) -> None:
        self.server = Server(delegated=delegated)
        self.offload = RecordedOffload()
        self.runtime = Runtime(
            [ControllerEntry(one.name, one.name, one) for one in controllers],
            client_for=lambda _: self.server.client,
            mirrors=self.server.client,
            clock=self.server.clock,
            offload=self.offload,
            randomness=SeededRandomness(2),
            options=Options(),
        )
