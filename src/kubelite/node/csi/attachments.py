"""The node's part of attaching: it lists the volumes it uses in `status.volumesInUse`, and waits for `volumesAttached`.

A volume is listed before it is mounted and until it is unstaged, also across restarts, so that the control plane never
detaches what is mounted. The list is written again when the Node lost it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError, NotFound
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.storage import VolumeAttachment
from kubelite.api.machinery.csi_volumes import attachment_name, unique_name
from kubelite.backoff import backoff_seconds
from kubelite.node.environment import ConfigUnavailable

log = logging.getLogger(__name__)

VolumeKey = tuple[str, str]  # driver and handle
RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS = 1.0, 60.0


class Attachments:
    """The volumes that one node uses and that must be attached."""

    def __init__(self, node: str, client: Client, changed: Callable[[str], None]) -> None:
        """`changed` is called with the uid of each pod that waits for a volume, when volumes were attached."""
        self._node = node
        self._client = client
        self._changed = changed
        self._in_use: set[str] = set()
        self._waiting: set[str] = set()  # uids of pods
        self._writing = asyncio.Lock()
        self._lost = asyncio.Event()
        self._mirror = client.mirror(Node, field_selector=f"metadata.name={node}")

    def restore(self, keys: set[VolumeKey]) -> None:
        """Count volumes as used that were mounted before the agent started; call it before `run`."""
        self._in_use |= {unique_name(*key) for key in keys}

    async def run(self) -> None:
        """Keep the list in the Node's status, until cancelled."""
        unsubscribe = self._mirror.subscribe(self._seen)
        failures = 0
        try:
            while True:
                await self._lost.wait()
                self._lost.clear()
                try:
                    await self._write()
                except APIError as error:
                    log.warning("cannot report the volumes in use: %s", error)
                    pause = backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS)
                    await asyncio.sleep(pause)
                    failures += 1
                    self._lost.set()
                else:
                    failures = 0
        finally:
            unsubscribe()

    def _seen(self, before: Node | None, after: Node | None) -> None:
        if after is None:
            return
        if set(after.status.volumesInUse) != self._in_use:
            self._lost.set()
        if before is None or before.status.volumesAttached != after.status.volumesAttached:
            waiting, self._waiting = self._waiting, set()
            for uid in sorted(waiting):
                self._changed(uid)

    async def context(self, pod_uid: str, key: VolumeKey) -> Mapping[str, str]:
        """Return what the attacher says of an attached volume. Raises ConfigUnavailable until it is, and APIError.

        The Node is read after the volume is listed as used, so the control plane cannot detach it unseen.
        """
        name = unique_name(*key)
        if name not in self._in_use:
            self._in_use.add(name)
            await self._write()
        self._waiting.add(pod_uid)
        node = await self._client.get(Node, self._node)
        if name not in {one.name for one in node.status.volumesAttached}:
            raise ConfigUnavailable(
                f"volume {key[1]} has not been attached to node {self._node} yet"
            )
        driver, handle = key
        wanted = attachment_name(driver, handle, self._node)
        try:
            attachment = await self._client.get(VolumeAttachment, wanted)
        except NotFound as error:
            raise ConfigUnavailable(f"volumeattachment {wanted} not found") from error
        if not attachment.status.attached:
            raise ConfigUnavailable(f"volumeattachment {wanted} is not attached")
        self._waiting.discard(pod_uid)
        return attachment.status.attachmentMetadata

    def forget(self, pod_uid: str) -> None:
        """Stop waiting for the volumes of a pod."""
        self._waiting.discard(pod_uid)

    async def release(self, key: VolumeKey) -> None:
        """Take a volume off the list, so that it may be detached. Raises APIError; it is off then all the same."""
        name = unique_name(*key)
        if name in self._in_use:
            self._in_use.discard(name)
            await self._write()

    async def _write(self) -> None:
        async with self._writing:
            # Always written, since the mirror may show an older list that happens to be the same.
            patch = {"status": {"volumesInUse": sorted(self._in_use)}}
            await self._client.patch(Node, self._node, patch, subresource="status")
