"""Registers plugins through the sockets that they put in a folder, `plugins_registry`.

The folder is watched by inotify. For each socket the plugin is asked who it is, its handler registers it, and the
plugin is told the result; a failure is tried again. A socket that is replaced registers anew, and one that is removed
ends the registration. Protocol: k8s.io/kubelet `pluginregistration/v1`.
"""

import asyncio
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from kubelite.backoff import backoff_seconds
from kubelite.grpc.status import GrpcError
from kubelite.inotify import Inotify
from kubelite.limits import PLUGINS
from kubelite.node.plugins.channel import INFO_SECONDS, Channel, Connect
from kubelite.node.plugins.messages import (
    GET_INFO,
    NOTIFY,
    Empty,
    PluginInfo,
    RegistrationStatus,
)
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS = 0.5, 120.0  # as upstream's goroutinemap
Registration = tuple["PluginHandler", str, Path]
Identity = tuple[
    int, int, int
]  # of a socket: device, inode, time of its last change in nanoseconds


class Refused(Exception):
    """A plugin cannot be registered; `str()` is what the plugin is told."""


class PluginHandler(Protocol):
    """Registers the plugins of one type."""

    async def register(self, info: PluginInfo, endpoint: Path) -> None:
        """Register a plugin, or again one that is known. Raises Refused."""
        ...

    async def unregister(self, name: str, endpoint: Path) -> None:
        """End the registration of a plugin whose socket was removed."""
        ...


class _Known:
    """A socket, with the plugin that registered through it once it has."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.task: asyncio.Task[None] | None = None
        self.plugin: Registration | None = None


class PluginRegistry:
    """The plugins of one node."""

    def __init__(
        self, folder: Path, handlers: Mapping[str, PluginHandler], connect: Connect
    ) -> None:
        """`handlers` are by type, such as CSIPlugin; plugins of another type are refused."""
        self._folder = folder
        self._handlers = handlers
        self._connect = connect
        self._known: dict[str, _Known] = {}
        # By name of the socket: what had registered through the one before, until the new one's plugin has.
        self._former: dict[str, Registration] = {}
        self._tasks = TaskSet()

    async def run(self) -> None:
        """Follow the folder until cancelled; it is made if it is missing."""
        await asyncio.to_thread(self._folder.mkdir, mode=0o750, parents=True, exist_ok=True)
        inotify = Inotify()
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            while True:
                with inotify.armed(folder) as changed:
                    await self._follow(await asyncio.to_thread(_sockets, folder))
                    await changed
        finally:
            inotify.close()
            os.close(folder)
            await self._tasks.stop()

    async def _follow(self, sockets: Mapping[str, Identity]) -> None:
        for name, known in list(self._known.items()):
            if sockets.get(name) != known.identity:
                del self._known[name]
                await self._forget(name, known)
        for name in self._former.keys() - sockets.keys():
            await self._end(self._former.pop(name))
        for name, identity in sockets.items():
            if name in self._known:
                continue
            if len(self._known) >= PLUGINS.value:
                PLUGINS.reached()
                return
            known = self._known[name] = _Known(identity)
            work = self._register(self._folder / name, known)
            known.task = self._tasks.start(work, name=f"plugin {name}")

    async def _forget(self, name: str, known: _Known) -> None:
        """Let go of a socket; its plugin's registration ends unless the same plugin registers through a new one."""
        if known.task is not None:
            known.task.cancel()
            await asyncio.wait([known.task])
        if known.plugin is not None:
            self._former[name] = known.plugin

    async def _end(self, registration: Registration) -> None:
        handler, name, endpoint = registration
        await handler.unregister(name, endpoint)

    async def _register(self, socket: Path, known: _Known) -> None:
        failures = 0
        while True:
            channel = self._connect(socket)
            try:
                await self._introduce(socket, channel, known)
            except (GrpcError, Refused) as error:
                log.warning("cannot register plugin: %s", error, extra={"socket": str(socket)})
            else:
                return
            finally:
                await channel.close()
            await asyncio.sleep(backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS))
            failures += 1

    async def _took(self, socket: str, known: _Known, plugin: Registration) -> None:
        """Note a registration, and end another one of this socket or of one before it with the same name."""
        former, known.plugin = known.plugin or self._former.pop(socket, None), plugin
        if former is not None and former != plugin:
            await self._end(former)

    async def _introduce(self, socket: Path, channel: Channel, known: _Known) -> None:
        """Register one plugin and tell it so. Raises GrpcError and Refused."""
        info = await channel.unary(GET_INFO, Empty(), timeout_seconds=INFO_SECONDS)
        endpoint = Path(info.endpoint) if info.endpoint else socket
        handler = self._handlers.get(info.type)
        try:
            if handler is None:
                raise Refused(
                    f"no handler registered for plugin type: {info.type} at socket {socket}"
                )
            await handler.register(info, endpoint)
        except Refused as error:
            status = RegistrationStatus(plugin_registered=False, error=str(error))
            await self._notify(channel, status)
            raise
        # First, since a plugin may take no news of it.
        await self._took(socket.name, known, (handler, info.name, endpoint))
        await self._notify(channel, RegistrationStatus(plugin_registered=True))
        log.info("plugin registered", extra={"plugin": info.name, "type": info.type})

    async def _notify(self, channel: Channel, status: RegistrationStatus) -> None:
        await channel.unary(NOTIFY, status, timeout_seconds=INFO_SECONDS)


def _sockets(folder: int) -> dict[str, Identity]:
    """Return the sockets in a folder; hidden names are passed over, as upstream does."""
    found: dict[str, Identity] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                state = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISSOCK(state.st_mode):
                found[entry.name] = (state.st_dev, state.st_ino, state.st_ctime_ns)
    return found
