"""The node of a claim that is provisioned for its first pod."""

import asyncio
from typing import Any

import pytest
from fakes.fake_client import FakeClient
from msgspec import convert

from kubelite.api.errors import Conflict
from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.control.scheduler.volumes import (
    SELECT_ATTEMPTS,
    Preparation,
    ProvisioningFailed,
    Volumes,
)
from kubelite.control.volume_matching import SELECTED_NODE


def claim(node: str = "", volume: str = "", phase: str = "Pending") -> PersistentVolumeClaim:
    annotations = {SELECTED_NODE: node} if node else {}
    meta = {"name": "data", "namespace": "default", "annotations": annotations}
    item = {"metadata": meta, "spec": {"volumeName": volume}, "status": {"phase": phase}}
    return convert(item, PersistentVolumeClaim)


async def prepared(client: FakeClient, decided: PersistentVolumeClaim, node: str) -> None:
    volumes, preparation = Volumes(client), Preparation(provision=(decided,))
    await volumes.prepare(client, preparation, node)
    await volumes.wait_bound(preparation, node)


async def change(client: FakeClient, patch: dict[str, Any], subresource: str = "") -> None:
    await client.patch(PersistentVolumeClaim, "data", patch, "default", subresource=subresource)


async def test_the_pod_waits_until_its_claim_is_bound() -> None:
    client = FakeClient()
    waiting = asyncio.create_task(prepared(client, await client.create(claim()), "one"))
    await asyncio.sleep(0.01)
    stored = await client.get(PersistentVolumeClaim, "data", "default")
    assert stored.metadata.annotations == {SELECTED_NODE: "one"}
    assert not waiting.done()
    await change(client, {"status": {"phase": "Bound"}}, "status")
    await waiting


@pytest.mark.parametrize("node", [None, "two"])
async def test_a_provisioner_that_gives_the_node_back_ends_the_wait(node: str | None) -> None:
    client = FakeClient()
    waiting = asyncio.create_task(prepared(client, await client.create(claim()), "one"))
    await asyncio.sleep(0.01)
    await change(client, {"metadata": {"annotations": {SELECTED_NODE: node}}})
    with pytest.raises(ProvisioningFailed, match='provisioning failed for PVC "data"'):
        await waiting


@pytest.mark.parametrize("current", [claim("two"), claim(volume="pv"), claim("one", "pv")])
async def test_a_node_that_was_selected_for_another_pod_is_not_replaced(
    current: PersistentVolumeClaim,
) -> None:
    client = FakeClient()
    await client.create(current)
    with pytest.raises(ProvisioningFailed, match="another node was selected"):
        await prepared(client, claim(), "one")
    stored = await client.get(PersistentVolumeClaim, "data", "default")
    assert stored.metadata.annotations == current.metadata.annotations


class Crowded(FakeClient):
    """A server on which another writer comes first, `conflicts` times."""

    conflicts = 0
    patches = 0

    async def patch(self, *arguments: Any, **options: Any) -> Any:
        """Refuse a patch of an older state, or apply it."""
        self.patches += 1
        assert arguments[2]["metadata"]["resourceVersion"]
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict("changed")
        return await super().patch(*arguments, **options)


async def test_a_claim_that_others_write_too_is_tried_again() -> None:
    client = Crowded()
    client.conflicts = 2
    made = await client.create(claim(phase="Bound"))
    await prepared(client, made, "one")
    assert client.patches == 3
    client.conflicts = SELECT_ATTEMPTS
    await client.update(claim(phase="Bound"))
    with pytest.raises(Conflict):
        await prepared(client, made, "one")
