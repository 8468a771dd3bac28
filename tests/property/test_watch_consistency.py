"""A watch from any revision is the difference of the lists around it, whatever is selected."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from fakes.server import Server
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelite.api.auth.caller import Allowed
from kubelite.api.errors import NotFound
from kubelite.api.registry.options import WatchOptions
from kubelite.api.registry.watch import PLAIN

PATH = "v1/configmaps"
NAMES = st.sampled_from(["a", "b", "c"])
LABELS = st.sampled_from(["web", "db"])
STEPS = st.lists(st.tuples(st.sampled_from(["write", "delete"]), NAMES, LABELS), max_size=25)
SELECTORS = st.sampled_from(
    [
        {},
        {"label_selector": "app=web"},
        {"label_selector": "app!=web"},
        {"field_selector": "metadata.name=a"},
        {"field_selector": "metadata.name!=a"},
        {"label_selector": "app", "field_selector": "metadata.name=b"},
    ]
)


async def play(server: Server, step: tuple[str, str, str]) -> None:
    verb, name, label = step
    metadata = {"name": name, "labels": {"app": label}}
    if verb == "delete":
        try:
            await server.delete(PATH, name)
        except NotFound:
            return
    elif name in server.names(PATH):
        await server.patch(PATH, name, {"metadata": {"labels": metadata["labels"]}})
    else:
        await server.create(PATH, {"metadata": metadata})


def listed(server: Server, selector: dict[str, Any]) -> dict[str, bytes]:
    items = server.list(PATH, **selector).items
    return {msgspec.json.decode(item)["metadata"]["name"]: item for item in items}


def follow(state: dict[str, bytes], frames: Sequence[bytes]) -> dict[str, bytes]:
    """Apply events as a client would, checking that each makes sense."""
    state = dict(state)
    last = 0
    for frame in frames:
        event = msgspec.json.decode(frame, type=dict[str, Any])
        metadata = event["object"]["metadata"]
        name, revision = metadata["name"], int(metadata["resourceVersion"])
        assert revision > last
        last = revision
        body = frame[frame.index(b'"object":') + len(b'"object":') : -2]
        if event["type"] == "ADDED":
            assert name not in state
            state[name] = body
        elif event["type"] == "MODIFIED":
            assert name in state
            state[name] = body
        else:
            assert event["type"] == "DELETED"
            del state[name]
    return state


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, start=st.integers(0, 25), selector=SELECTORS)
def test_a_watch_is_the_difference_of_lists(
    steps: list[tuple[str, str, str]], start: int, selector: dict[str, Any]
) -> None:
    async def run() -> None:
        server = Server()
        await server.create("v1/secrets", {"metadata": {"name": "first"}})  # no version is 0
        live: list[bytes] = []
        before: dict[str, bytes] = {}
        version = ""
        for number, step in enumerate([*steps, None]):
            if number == min(start, len(steps)):
                before = listed(server, selector)
                version = server.list(PATH).resource_version
                options = WatchOptions(resource_version=version, **selector)
                allowed = server.allowed("watch", PATH)
                await watch(server, allowed, options, live)
            if step is not None:
                await play(server, step)
        after = listed(server, selector)
        assert follow(before, live) == after
        replayed: list[bytes] = []
        options = WatchOptions(resource_version=version, **selector)
        await watch(server, server.allowed("watch", PATH), options, replayed)
        assert replayed == live

    asyncio.run(run())


async def watch(
    server: Server, allowed: Allowed, options: WatchOptions, heard: list[bytes]
) -> None:
    watching = await server.verbs.watch(allowed, options, PLAIN, heard.extend, server.fail)
    await watching.begin(read_all)


async def read_all() -> None:
    return
