"""Looks at the container engine for the node's status, and bears an engine that is slow for a while."""

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from kubelite.node.kubelet import Kubelet
from kubelite.node.registration import EngineView
from kubelite.node.runtime import ContainerRuntime, EngineUnavailable, RuntimeFailure

VIEW_SECONDS = 5.0  # more would delay the lease
# An engine that was silent for no longer than this still counts as up, as for the kubelet: a NotReady node loses its
# place in Services, and later its pods.
SILENCE_SECONDS = 30.0


class EngineWatch:
    """Returns the engine's part of the node status at each call."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        kubelet: Kubelet,
        network_error: Callable[[], str],
        time: Callable[[], float] | None = None,
    ) -> None:
        """`time` is in seconds, that of the loop by default."""
        self._runtime = runtime
        self._kubelet = kubelet
        self._network_error = network_error
        self._time = time or asyncio.get_running_loop().time
        self._last = EngineView()
        self._seen_at: float | None = None

    async def __call__(self) -> EngineView:
        """Return what the engine says within VIEW_SECONDS, or has said within SILENCE_SECONDS."""
        try:
            async with asyncio.timeout(VIEW_SECONDS):
                # NotReady at each start would remove the node's pods from their Services, so wait for the engine first.
                await self._kubelet.engine_known.wait()
                version, images = await self._runtime.version(), await self._runtime.images()
                handlers = await self._runtime.handlers()
        except TimeoutError:
            return self._silent()
        except (EngineUnavailable, RuntimeFailure) as error:
            return EngineView(error=str(error))
        self._last = EngineView(version=version, images=tuple(images), handlers=handlers)
        self._seen_at = self._time()
        return replace(
            self._last, error=self._kubelet.engine_error, network_error=self._network_error()
        )

    def _silent(self) -> EngineView:
        if self._seen_at is None:
            if (
                error := self._network_error()
            ):  # without a network the agent has not called the engine yet
                return EngineView(network_error=error)
            return EngineView(error=f"no answer within {VIEW_SECONDS:.0f} s")
        seconds = self._time() - self._seen_at
        if seconds <= SILENCE_SECONDS:
            return replace(self._last, error=self._kubelet.engine_error)
        return EngineView(error=f"no answer for {seconds:.0f} s")
