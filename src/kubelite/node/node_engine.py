"""The container engine of a node, from its choice to the network of its sandboxes.

An engine of kubelite's own is started and kept running. One of CRI, own or not, makes the network of a sandbox by
calling a CNI plugin, so kubelite's is put where the engine looks for it, and answered while pods may be started.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kubelite.node.container_owner import ensure_owner
from kubelite.node.containerd import ContainerdFolders
from kubelite.node.engine import EngineProgram, OwnEngine
from kubelite.node.engine_choice import Engine, Wanted, choose, note_use, own_engines
from kubelite.node.engine_client import connect
from kubelite.node.log_policy import LogPolicy
from kubelite.node.network import PodNetwork
from kubelite.node.pod_memory import PodMemory
from kubelite.node.profiles import Profiles
from kubelite.node.runtime import ContainerRuntime, RuntimeFailure
from kubelite.tasks import TaskSet

if TYPE_CHECKING:
    from kubelite.clock import Clock
    from kubelite.offload import Offload
    from kubelite.randomness import Randomness

log = logging.getLogger(__name__)


class NodeEngine:
    """The engine of one data folder; `start` first, `close` at the end. Containers go on."""

    def __init__(
        self,
        agent: Path,
        run: Path,
        wanted: Wanted,
        *,
        logs: Path,
        log_policy: LogPolicy,
        offload: "Offload",
        insecure: Sequence[str] = (),
    ) -> None:
        """Choose nothing yet.

        Args:
            agent: The agent's part of the data folder.
            run: Its run-time folder.
            wanted: What the user has set.
            logs: The host's folder for logs.
            log_policy: How much output an engine keeps that rotates its files itself.
            offload: Decodes large answers of an engine.
            insecure: Registries that an engine of our own may reach without TLS, or without verifying it.
        """
        self._logs = logs
        self._log_policy = log_policy
        self._offload = offload
        self._insecure = insecure
        self._agent = agent
        self._own = own_engines(agent, run)
        self._wanted = wanted
        self._plugin_socket = run / "cni" / "cni.sock"
        self._tasks = TaskSet()
        self._engine: Engine | None = None
        self._architecture = ""
        self._runtime: ContainerRuntime | None = None

    async def start(
        self, node: str, architecture: str, clock: "Clock", randomness: "Randomness"
    ) -> ContainerRuntime:
        """Choose the engine and return its client; an engine of our own starts in the background. Raises OSError."""
        self._architecture = architecture
        engine = self._engine = await choose(self._wanted, self._own, self._agent)
        log.info("container engine", extra={"api": engine.dialect, "socket": engine.socket})
        await self._note(engine)
        if (program := self._own.program(engine)) is not None:
            if isinstance(program, ContainerdFolders):
                await asyncio.to_thread(self._install_plugin, program)
            own = OwnEngine(program, self._arguments(program))
            self._tasks.supervise(own.run, name="container engine")
        owner = await asyncio.to_thread(ensure_owner, self._agent, node, randomness)
        profiles = Profiles(self._agent / "seccomp")
        self._runtime = connect(
            engine,
            owner,
            architecture,
            clock,
            profiles,
            logs=self._logs,
            log_policy=self._log_policy,
            offload=self._offload,
        )
        return self._runtime

    def _arguments(self, program: EngineProgram) -> list[str]:
        if isinstance(program, ContainerdFolders):  # which reads its folder of registries
            return []
        return [f"--insecure-registry={host}" for host in self._insecure]

    async def _note(self, engine: Engine) -> None:
        former = await asyncio.to_thread(note_use, self._agent, engine)
        pods = await asyncio.to_thread(lambda: any((self._agent / "pods").glob("*")))
        if former and former[0] != engine and pods:
            what = "this node used another container engine, whose containers go on"
            log.warning(what, extra={"socket": former[0].socket})

    def _install_plugin(self, program: ContainerdFolders) -> None:
        from kubelite.node.cni.plugin import install

        install(self._plugin_socket, program.programs, program.networks)

    async def prepare(self) -> None:
        """Make an engine that answers ready for pods: the CNI plugin of one that is not ours, the sandbox image.

        A failure is logged, since pods then say what is missing. Raises EngineUnavailable.
        """
        if self._engine is None or self._engine.dialect != "cri":
            return
        from kubelite.node.cri.preparation import (
            EngineStatus,
            install_plugin,
            provide_sandbox_image,
        )

        assert isinstance(self._runtime, EngineStatus)
        try:
            if not self._engine.is_own:
                await install_plugin(self._runtime, self._agent, self._plugin_socket)
            await provide_sandbox_image(self._runtime, self._architecture)
        except (OSError, RuntimeFailure) as error:
            log.warning("cannot prepare the container engine", extra={"reason": str(error)})

    @asynccontextmanager
    async def networking(
        self, network: PodNetwork, memories: Mapping[str, PodMemory]
    ) -> AsyncIterator[None]:
        """Answer the engine's calls of the CNI plugin by means of `network`, for the pods of `memories`."""
        if self._engine is None or self._engine.dialect != "cri":
            yield
            return
        from kubelite.node.cni.server import PluginCalls, PluginServer, pod_ports

        server = PluginServer(self._plugin_socket, PluginCalls(network, pod_ports(memories)))
        await server.start()
        try:
            yield
        finally:
            await server.stop()

    async def close(self) -> None:
        """Let go of the engine."""
        await self._tasks.stop()
        if self._runtime is not None:
            await self._runtime.close()
