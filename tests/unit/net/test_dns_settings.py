"""The ConfigMap is followed while the server runs."""

import asyncio
from typing import cast

from fakes.mirrored import MirroringClient

from kubelite.api.client.events import EventRecorder
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.net.dns_config import DNSConfig
from kubelite.net.dns_settings import FollowedConfig
from kubelite.offload import AtOnce


class Noted:
    """Notes events instead of writing them."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def event(self, _about: object, event_type: str, reason: str, message: str) -> None:
        self.texts.append(f"{event_type} {reason}: {message}")


def settings(version: int, **data: str) -> ConfigMap:
    metadata = ObjectMeta(name="kube-dns", namespace="kube-system", resourceVersion=str(version))
    return ConfigMap(metadata=metadata, data=data)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_changes_apply_and_invalid_ones_change_nothing() -> None:
    client, noted = MirroringClient(), Noted()
    applied: list[DNSConfig] = []
    followed = FollowedConfig(
        client.as_client(), applied.append, AtOnce(), cast(EventRecorder, noted)
    )
    client.put(settings(1, upstreamNameservers='["1.1.1.1"]'))
    await followed.first()
    running = asyncio.create_task(followed.run())
    await settle()
    assert [config.servers for config in applied] == [(("1.1.1.1", 53),)]
    client.put(settings(2, upstreamNameservers="1.1.1.1"))
    await settle()
    assert len(applied) == 1
    assert noted.texts[0].startswith(
        "Warning InvalidDNSConfig: data[upstreamNameservers]: must be a JSON list"
    )
    client.put(settings(3, hosts="10.0.0.1 a"))
    await settle()
    assert applied[-1].hosts == {(b"a",): ("10.0.0.1",)}
    client.mirror(ConfigMap).remove("kube-system", "kube-dns")
    await settle()
    assert applied[-1] == DNSConfig()
    running.cancel()


async def test_without_the_object_nothing_is_applied() -> None:
    applied: list[DNSConfig] = []
    followed = FollowedConfig(
        MirroringClient().as_client(), applied.append, AtOnce(), cast(EventRecorder, Noted())
    )
    await followed.first()
    assert applied == []
