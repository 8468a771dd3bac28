"""Changes as lists and watches see them that select what a webhook has converted."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from fakes.custom_server import define, definition, version
from fakes.server import Server

from kubelite.api.registry.options import ReadOptions, WatchOptions
from kubelite.api.registry.watch import PLAIN

JSON = dict[str, Any]
V1, V2 = "example.com/v1/cats", "example.com/v2/cats"
WEBHOOK = {
    "strategy": "Webhook",
    "webhook": {
        "conversionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://convert.example.com/"},
    },
}


class Converter:
    """A webhook: v1 has `hostPort`, v2 has `host` and `port`, and a label that names the host."""

    def uid(self) -> str:
        return "1"

    async def post(self, client_config: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        assert client_config["url"]
        assert seconds > 0
        await asyncio.sleep(0)
        review = msgspec.json.decode(body)
        wanted = review["request"]["desiredAPIVersion"]
        made = [_converted(item, wanted) for item in review["request"]["objects"]]
        result = {"status": "Success"}
        review["response"] = {"uid": "1", "result": result, "convertedObjects": made}
        return msgspec.json.encode(review)


def _converted(item: JSON, wanted: str) -> JSON:
    labels = dict(item["metadata"].get("labels", {}))
    if wanted.endswith("v2"):
        host, _, port = item.pop("hostPort").partition(":")
        item |= {"host": host, "port": port}
        labels["host"] = host
    else:
        item["hostPort"] = f"{item.pop('host')}:{item.pop('port', '')}"
        labels.pop("host", None)
    return {**item, "apiVersion": wanted, "metadata": {**item["metadata"], "labels": labels}}


def _text(*names: str) -> JSON:
    return {name: {"type": "string"} for name in names}


def _selectable(*names: str) -> list[JSON]:
    return [{"jsonPath": f".{name}"} for name in names]


@pytest.fixture
async def server() -> Server:
    server = Server(hooks=Converter())
    v1 = version(schema=_text("hostPort"), selectableFields=_selectable("hostPort"))
    v2 = version(
        "v2",
        storage=False,
        schema=_text("host", "port"),
        selectableFields=_selectable("host", "port"),
    )
    await define(server, definition(v1, v2, conversion=WEBHOOK))
    return server


async def make(server: Server, name: str, host: str, port: str) -> None:
    await server.create(V2, {"metadata": {"name": name}, "host": host, "port": port})


async def names(server: Server, path: str, **options: Any) -> list[str]:
    listed = await server.verbs.list(server.allowed("list", path), ReadOptions(**options))
    return [msgspec.json.decode(item)["metadata"]["name"] for item in listed.items]


async def watch(server: Server, path: str, **options: Any) -> list[tuple[str, str]]:
    """Watch from now on; return the list of what is heard."""
    heard: list[tuple[str, str]] = []

    def deliver(frames: Any) -> None:
        events = map(msgspec.json.decode, frames)
        heard.extend((one["type"], one["object"]["metadata"]["name"]) for one in events)

    async def drain() -> None:
        return

    watching = await server.verbs.watch(
        server.allowed("watch", path), WatchOptions(**options), PLAIN, deliver, server.fail
    )
    await watching.begin(drain)
    return heard


async def settled() -> None:
    """Let all that waits for the webhook go on."""
    for _ in range(100):
        await asyncio.sleep(0)


CHOICES = [
    pytest.param(V2, {"field_selector": "host=a"}, id="one field"),
    pytest.param(V2, {"field_selector": "host=a,port!=9"}, id="two fields"),
    pytest.param(V1, {"field_selector": "hostPort=a:80"}, id="a field of the stored version"),
    pytest.param(V2, {"label_selector": "host=a"}, id="a label that the webhook adds"),
    pytest.param(V2, {"label_selector": "host=a", "field_selector": "host=a"}, id="both"),
]


@pytest.mark.parametrize(("path", "choice"), CHOICES)
async def test_lists_and_watches_select_what_the_webhook_makes(
    server: Server, path: str, choice: dict[str, str]
) -> None:
    from_now = await watch(server, path, **choice)
    await make(server, "one", "a", "80")
    await make(server, "two", "b", "80")
    revision = str(server.store.revision)
    assert await names(server, path, **choice) == ["one"]
    with_present = await watch(server, path, **choice)
    await server.patch(V2, "one", {"host": "b"})
    await server.patch(V2, "two", {"host": "a"})
    await server.delete(V2, "two")
    await settled()
    changes = [("DELETED", "one"), ("ADDED", "two"), ("DELETED", "two")]
    assert from_now == [("ADDED", "one"), *changes]
    assert with_present == [("ADDED", "one"), *changes]
    assert await watch(server, path, resource_version=revision, **choice) == changes
    assert await names(server, path, **choice) == []
