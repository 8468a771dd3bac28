"""What docs/devices.md shows is accepted as it stands there."""

import pytest
from fakes.server import Server
from testbed.documents import commands, objects

PAGE = "devices.md"
PLURALS = {
    "DeviceClass": "resource.k8s.io/v1/deviceclasses",
    "Pod": "v1/pods",
    "ResourceClaimTemplate": "resource.k8s.io/v1/resourceclaimtemplates",
    "ResourceQuota": "v1/resourcequotas",
}


@pytest.mark.parametrize("name", sorted(objects(PAGE)))
async def test_the_examples_are_valid(name: str) -> None:
    server = Server()
    example = objects(PAGE)[name]
    made = await server.create(PLURALS[example["kind"]], example)
    assert made["metadata"]["uid"]
    for part in ("spec",):
        assert made[part].keys() >= example[part].keys()


def test_the_page_shows_each_way() -> None:
    assert sorted(objects(PAGE)) == [
        "DeviceClass/gpu",
        "Pod/claim",
        "Pod/count",
        "Pod/implicit",
        "ResourceClaimTemplate/one-gpu",
        "ResourceQuota/devices",
    ]
    assert ["get", "resourceslices"] in commands(PAGE)
