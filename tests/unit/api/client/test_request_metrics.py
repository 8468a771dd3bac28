"""Requests of the process to its own API and to others."""

import pytest
from fakes.server import Server

from kubelite.api.client.request_metrics import IN_PROCESS, requests_total
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.meta import ObjectMeta


def counted(code: str, method: str) -> float:
    return requests_total.labelled(code, method, IN_PROCESS).value


async def test_parts_of_the_process_are_counted_like_clients_over_http() -> None:
    client = Server().client
    kinds = (
        ("201", "POST"), ("200", "GET"), ("200", "PATCH"), ("200", "PUT"), ("200", "DELETE"),
        ("404", "GET"), ("404", "DELETE"),
    )  # fmt: skip
    before = [counted(*one) for one in kinds]
    await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))
    await client.get(ConfigMap, "a", "default")
    await client.list(ConfigMap, "default")
    patched = await client.patch(ConfigMap, "a", {"data": {"x": "y"}}, "default")
    await client.update(patched)
    await client.delete(ConfigMap, "a", "default")
    with pytest.raises(NotFound):
        await client.get(ConfigMap, "a", "default")
    with pytest.raises(NotFound):
        await client.delete(ConfigMap, "a", "default")
    after = [counted(*one) for one in kinds]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 2, 1, 1, 1, 1, 1]
