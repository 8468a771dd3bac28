"""What pods refer to, as read last."""

from typing import Any

import pytest
from fakes.fake_client import FakeClient

from kubelite.api.errors import APIError, Forbidden, NotFound, ServiceUnavailable, Unauthorized
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.limits import KEPT_CONFIG
from kubelite.node.pod_config import PodConfig


def pod(uid: str) -> Pod:
    return Pod(metadata=ObjectMeta(name=uid, namespace="work", uid=uid))


async def made(client: FakeClient, *names: str, size: int = 10) -> PodConfig:
    for name in names:
        metadata = ObjectMeta(name=name, namespace="work")
        await client.create(ConfigMap(metadata=metadata, data={"key": "x" * size}))
    return PodConfig(client)


def away(client: FakeClient, error: APIError) -> None:
    async def get(*_: object) -> Any:
        raise error

    client.get = get  # type: ignore[assignment, method-assign]  # every read fails from now on


@pytest.mark.parametrize("error", [ServiceUnavailable("away"), Unauthorized("expired")])
async def test_what_was_read_serves_while_the_api_does_not_answer(error: APIError) -> None:
    client = FakeClient()
    reads = await made(client, "a", "b")
    found = await reads.get(pod("one"), ConfigMap, "a")
    away(client, error)
    assert await reads.get(pod("two"), ConfigMap, "a") is found
    with pytest.raises(type(error)):
        await reads.get(pod("one"), ConfigMap, "b")
    reads.forget("one")
    assert await reads.get(pod("two"), ConfigMap, "a") is found
    reads.forget("two")
    with pytest.raises(type(error)):
        await reads.get(pod("two"), ConfigMap, "a")
    assert (reads.size_bytes, reads._kept, reads._of_pod) == (0, {}, {})


async def test_a_refusal_and_a_deletion_are_believed() -> None:
    client = FakeClient()
    reads = await made(client, "a")
    await reads.get(pod("one"), ConfigMap, "a")
    away(client, Forbidden("not of this node"))
    with pytest.raises(Forbidden):
        await reads.get(pod("one"), ConfigMap, "a")
    away(client, NotFound("gone"))
    with pytest.raises(NotFound):
        await reads.get(pod("one"), ConfigMap, "a")
    away(client, ServiceUnavailable("away"))
    with pytest.raises(ServiceUnavailable):
        await reads.get(pod("one"), ConfigMap, "a")
    reads.forget("one")
    assert (reads.size_bytes, reads._kept, reads._of_pod) == (0, {}, {})


async def test_what_is_kept_is_bounded() -> None:
    client = FakeClient()
    names = [f"config-{number}" for number in range(20)]
    reads = await made(client, *names, size=1 << 20)
    times = KEPT_CONFIG.times_reached
    for name in names:
        await reads.get(pod("one"), ConfigMap, name)
    assert reads.size_bytes <= KEPT_CONFIG.value
    assert KEPT_CONFIG.times_reached > times
    away(client, ServiceUnavailable("away"))
    await reads.get(pod("one"), ConfigMap, names[0])
    with pytest.raises(ServiceUnavailable):
        await reads.get(pod("one"), ConfigMap, names[-1])
