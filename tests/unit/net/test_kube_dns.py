"""The service object of the DNS server."""

from typing import cast

from kubelite.api.client.protocol import Client
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.services import Service
from kubelite.net.kube_dns import ensure_kube_dns, kube_dns


class CreatingClient:
    def __init__(self) -> None:
        self.created: list[Service] = []

    async def get(self, kind: type[Service], name: str, namespace: str) -> Service:
        for item in self.created:
            if (item.metadata.namespace, item.metadata.name) == (namespace, name):
                return item
        raise NotFound(f'services "{name}" not found')

    async def create(self, item: Service) -> Service:
        self.created.append(item)
        return item


async def test_it_is_made_once() -> None:
    client = CreatingClient()
    for _ in range(2):
        await ensure_kube_dns(cast(Client, client), "10.43.0.10")
    assert client.created == [kube_dns("10.43.0.10")]
    assert client.created[0].spec.clusterIP == "10.43.0.10"
    assert not client.created[0].spec.selector
