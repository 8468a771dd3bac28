"""Connects pods by the CNI plugins that are configured on the host (`--network-plugin=cni`)."""

import asyncio
import errno
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from kubelite.limits import CNI_PLUGIN_SECONDS
from kubelite.net.cni import links
from kubelite.net.cni.attachments import AttachmentFiles
from kubelite.net.cni.calls import (
    Attachment,
    HostPort,
    PluginFailed,
    capabilities_of,
    environment,
    plugin_input,
    read_result,
)
from kubelite.net.cni.configuration import JSON, UNINITIALIZED, Network, load_network
from kubelite.net.pod_network import NetworkForbidden, PodListener
from kubelite.spawn import Finished, ProgramFailed, ProgramMissing, run_program

log = logging.getLogger(__name__)

AT_ONCE = 4  # calls of plugins: each holds a thread
RETRY_SECONDS = 5.0  # while the network is not ready, or a plugin could not undo a connection

Annotations = Callable[
    [str], Mapping[str, str]
]  # of a pod, by namespace/name; empty if it is not known


class FolderWatch(Protocol):
    """What follows a folder."""

    @property
    def is_open(self) -> bool: ...
    def open(self) -> None: ...
    def close(self) -> None: ...


class CniNetwork:
    """Gives pods the addresses that plugins give them.

    A plugin that cannot undo a connection is asked again until it can; the pod goes meanwhile, and one of the same uid
    waits for it. Which network counts is read anew when a file of the folder changes; connections end by the
    configuration that made them.
    """

    def __init__(
        self,
        *,
        files: Path,
        configs: Path,
        programs: Sequence[Path],
        local_addresses: Sequence[str] = (),
        annotations: Annotations = lambda _key: {},
        watch: Callable[[Path, Callable[[], None]], FolderWatch] | None = None,
    ) -> None:
        """Do nothing yet.

        Args:
            files: The folder in which connections are noted.
            configs: The folder of network configurations.
            programs: The folders of plugins, searched in this order.
            local_addresses: Further addresses that the node itself answers: those of the cluster's DNS server.
            annotations: Finds what a pod is annotated with.
            watch: Makes what calls back when the folder of configurations changes.
        """
        self.listener: PodListener | None = None
        self.on_change: Callable[[], None] = lambda: None  # called when `problem` has changed
        self.problem = UNINITIALIZED  # why pods cannot be connected; empty: they can
        self._files = AttachmentFiles(files)
        self._configs = configs
        self._programs = tuple(programs)
        self._local_addresses = tuple(local_addresses)
        self._annotations = annotations
        self._changed = asyncio.Event()
        self._watch = watch(configs, self._changed.set) if watch is not None else None
        self._network: Network | None = None
        self._attachments: dict[str, Attachment] = {}
        self._owed: set[str] = set()  # uids of pods that are gone, and whose connections are not
        self._locks: dict[str, asyncio.Lock] = {}
        self._calls = asyncio.Semaphore(AT_ONCE)

    @property
    def pod_addresses(self) -> Sequence[str]:
        """The addresses of the pods on this node."""
        return [address for each in self._attachments.values() for address in each.addresses]

    async def start(self) -> None:
        """Make the node answer at its further addresses, and read what was connected. Raises NetworkForbidden."""
        try:
            await asyncio.to_thread(links.answer_at, self._local_addresses)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EACCES, errno.EROFS):
                raise
            raise NetworkForbidden("cannot set up the node's network: needs root") from error
        self._attachments = await asyncio.to_thread(self._files.load)
        if self.listener is not None:
            await self.listener.bridge_ready()
        await self._read()

    async def run(self) -> None:
        """Follow the configuration until cancelled."""
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_SECONDS if self._is_waiting else None):
                        await self._changed.wait()
                self._changed.clear()
                await self._read()
                for uid in sorted(self._owed):
                    await self._undo(uid)
        finally:
            if self._watch is not None:
                self._watch.close()

    async def stop(self) -> None:
        """Do nothing: connections stay."""

    async def attach(
        self, pod_uid: str, pod_key: str, netns: str, *, host_ports: Sequence[HostPort] = ()
    ) -> tuple[str, ...]:
        """Connect the network namespace of the file `netns`; return its addresses.

        Raises PluginFailed, InvalidBandwidth, ProcessLookupError when the namespace is gone, and OSError when the file
        is no pod's namespace.
        """
        async with self._lock(pod_uid):
            namespace = await self._identity(pod_key, netns)
            known = self._attachments.get(pod_uid)
            if known is not None:
                if await self._stands(known, netns, namespace):
                    return known.addresses
                await self._disconnect(known)
            if self._network is None:
                raise PluginFailed(self.problem)
            capabilities = capabilities_of(host_ports, self._annotations(pod_key))
            attachment = Attachment(pod_uid, pod_key, netns, namespace, self._network, capabilities)
            attachment = await self._connect(attachment)
        if self.listener is not None:
            await self.listener.pod_attached(pod_uid, attachment.addresses)
        return attachment.addresses

    async def addresses_in(self, pod_uid: str, netns: str) -> tuple[str, ...]:
        """Return the addresses by which a pod is connected in a namespace; none if it is not connected there."""
        known = self._attachments.get(pod_uid)
        if known is None:
            return ()
        try:
            namespace = await asyncio.to_thread(links.identity, netns)
        except OSError:
            return ()
        return known.addresses if await self._stands(known, netns, namespace) else ()

    async def detach(self, pod_uid: str) -> None:
        """Disconnect a pod; what a plugin cannot undo now is undone later."""
        if self.listener is not None:
            self.listener.pod_detached(pod_uid)
        await self._undo(pod_uid)

    async def restore(self, live: Mapping[str, int]) -> None:
        """Keep the connections of `live` (pod uid to sandbox pid) after a restart; undo all others."""
        for uid, attachment in list(self._attachments.items()):
            if uid not in live:
                await self._undo(uid)
            elif attachment.addresses and self.listener is not None:
                self.listener.pod_restored(uid, attachment.addresses)
        await self._check()
        await self._collect()

    async def disconnect_all(self) -> int:
        """Undo every connection that was noted, without `start`; return how many could not be undone."""
        self._attachments = await asyncio.to_thread(self._files.load)
        for uid in list(self._attachments):
            await self._undo(uid)
        return len(self._attachments)

    @property
    def _is_waiting(self) -> bool:
        unfollowed = self._watch is not None and not self._watch.is_open
        return bool(self.problem or self._owed or unfollowed)

    def _lock(self, pod_uid: str) -> asyncio.Lock:
        return self._locks.setdefault(pod_uid, asyncio.Lock())

    async def _identity(self, pod_key: str, netns: str) -> tuple[int, int]:
        try:
            return await asyncio.to_thread(links.identity, netns)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise ProcessLookupError(
                f"cannot connect pod {pod_key}: its sandbox has ended"
            ) from error

    async def _stands(self, known: Attachment, netns: str, namespace: tuple[int, int]) -> bool:
        """Return whether a connection is that of a namespace: the kernel gives numbers of those that ended again."""
        if known.namespace != namespace or not known.addresses or known.pod_uid in self._owed:
            return False
        return {*known.addresses} <= await asyncio.to_thread(links.addresses_in, netns)

    async def _connect(self, attachment: Attachment) -> Attachment:
        """Call ADD of each plugin; what some have done is undone if another fails."""
        self._attachments[attachment.pod_uid] = attachment
        try:
            await asyncio.to_thread(
                self._files.save, attachment
            )  # before: a crash leaves nothing behind
            await asyncio.to_thread(links.raise_loopback, attachment.netns)
            result: JSON = {}
            for plugin in attachment.network.plugins:
                result = await self._call("ADD", attachment.network, plugin, attachment, result)
            attachment = replace(attachment, result=result)
            if not attachment.addresses:
                raise PluginFailed(f"network {attachment.network.name!r} gave the pod no address")
            await asyncio.to_thread(self._files.save, attachment)
        except (PluginFailed, OSError):
            await self._undo(attachment.pod_uid, is_locked=True)
            raise
        self._attachments[attachment.pod_uid] = attachment
        return attachment

    async def _undo(self, pod_uid: str, *, is_locked: bool = False) -> None:
        """End a connection, or note that it is to be tried again."""
        if not is_locked:
            async with self._lock(pod_uid):
                return await self._undo(pod_uid, is_locked=True)
        known = self._attachments.get(pod_uid)
        if known is None:
            self._locks.pop(pod_uid, None)
            return None
        try:
            await self._disconnect(known)
        except (PluginFailed, OSError) as error:
            if pod_uid not in self._owed:
                log.warning(
                    "cannot disconnect a pod; trying again",
                    extra={"pod": known.pod_key, "reason": str(error)},
                )
            self._owed.add(pod_uid)
            self._changed.set() if not self._is_waiting else None
        return None

    async def _disconnect(self, known: Attachment) -> None:
        """Call DEL of each plugin, the last one first. Raises PluginFailed."""
        exists = await asyncio.to_thread(Path(known.netns).exists)
        told = known if exists else replace(known, netns="")
        for plugin in reversed(known.network.plugins):
            previous = known.result if known.network.knows("0.4.0") else None
            await self._call("DEL", known.network, plugin, told, previous)
        await asyncio.to_thread(self._files.remove, known.pod_uid)
        self._attachments.pop(known.pod_uid, None)
        self._owed.discard(known.pod_uid)

    async def _read(self) -> None:
        """Read the configuration, and ask its plugins whether they are ready."""
        if self._watch is not None and not self._watch.is_open:
            with suppress(OSError):
                self._watch.open()
        network, problems = await asyncio.to_thread(load_network, self._configs)
        for problem in problems if network is not None and network != self._network else ():
            log.warning("a network configuration is left out", extra={"reason": problem})
        self._network = network
        problem = f"{UNINITIALIZED}: {'; '.join(problems)}" if network is None else ""
        if network is not None and network.knows("1.1.0"):
            problem = await self._status(network)
        if problem != self.problem:
            self.problem = problem
            log.info("pod network", extra={"network": network and network.name, "problem": problem})
            self.on_change()

    async def _status(self, network: Network) -> str:
        for plugin in network.plugins:
            try:
                await self._call("STATUS", network, plugin)
            except PluginFailed as error:
                return f"Network plugin returns error: {error}"
        return ""

    async def _check(self) -> None:
        """Let plugins look at the connections that were found; what they say is told, and nothing is changed."""
        for known in list(self._attachments.values()):
            if not (known.network.checks and known.network.knows("0.4.0")) or not known.addresses:
                continue
            for plugin in known.network.plugins:
                try:
                    await self._call("CHECK", known.network, plugin, known, known.result)
                except PluginFailed as error:
                    log.warning(
                        "a pod's connection is not as it was made",
                        extra={"pod": known.pod_key, "reason": str(error)},
                    )

    async def _collect(self) -> None:
        """Tell plugins which connections there are, so that they remove what belongs to others."""
        network = self._network
        if network is None or not network.collects or not network.knows("1.1.0"):
            return
        valid = [{"containerID": uid, "ifname": "eth0"} for uid in sorted(self._attachments)]
        for plugin in network.plugins:
            try:
                await self._call("GC", network, plugin, valid=valid)
            except PluginFailed as error:
                log.warning("a CNI plugin cannot clean up", extra={"reason": str(error)})

    async def _call(
        self,
        command: str,
        network: Network,
        plugin: JSON,
        attachment: Attachment | None = None,
        previous: JSON | None = None,
        valid: Sequence[JSON] | None = None,
    ) -> JSON:
        """Run one plugin once. Raises PluginFailed."""
        kind = plugin["type"]
        capabilities = attachment.capabilities if attachment is not None else None
        given = plugin_input(
            network, plugin, capabilities=capabilities, previous=previous, valid=valid
        )
        folders = [str(folder) for folder in self._programs]
        async with self._calls:
            ended = await self._run(kind, given, environment(command, attachment, folders))
        return read_result(kind, ended.code, ended.output, ended.errors)

    async def _run(self, kind: str, given: bytes, variables: Mapping[str, str]) -> Finished:
        for folder in self._programs:
            try:
                return await run_program(
                    [str(folder / kind)],
                    stdin=given,
                    timeout_seconds=CNI_PLUGIN_SECONDS.value,
                    environment=variables,
                )
            except ProgramMissing:
                continue
            except ProgramFailed as error:
                raise PluginFailed(f"plugin type={kind!r}: {error}") from error
        searched = ", ".join(map(str, self._programs))
        raise PluginFailed(f"failed to find plugin {kind!r} in path [{searched}]")
